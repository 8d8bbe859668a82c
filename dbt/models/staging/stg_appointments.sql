-- Written by scripts/dbt-models from the connector's schemas.
with versions as (

  select
    *,
    row_number() over (partition by organization_id, id order by synced_at desc) as age,
    min(synced_at) over (partition by organization_id, id) as oldest
  from {{ source('ravan_calcom', 'appointments') }}
  where id <> ''

)

select
  organization_id || ':' || id as booking_key,
  nullif(id, '') as id,
  nullif(organization_id, '') as organization_id,
  nullif(agent_id, '') as agent_id,
  {{ ravan_calcom.utc('start_time') }} as start_time,
  {{ ravan_calcom.utc('end_time') }} as end_time,
  duration_minutes,
  nullif(status, '') as status,
  {{ ravan_calcom.utc('synced_at') }} as synced_at,
  {%- for column in var('ravan_calcom_personal_columns') %}
  nullif({{ column }}, '') as {{ column }},
  {%- endfor %}
  {{ ravan_calcom.utc('oldest') }} as first_synced_at
from versions
where age = 1
