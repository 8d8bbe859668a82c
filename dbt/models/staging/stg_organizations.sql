-- Written by scripts/dbt-models from the connector's schemas.
with versions as (

  select
    *,
    row_number() over (partition by organization_id order by synced_at desc) as age
  from {{ source('ravan_calcom', 'organizations') }}

)

select
  nullif(organization_id, '') as organization_id,
  {{ ravan_calcom.utc('synced_at') }} as synced_at,
  nullif(outcome, '') as outcome,
  nullif(error_kind, '') as error_kind,
  nullif(error, '') as error,
  {{ ravan_calcom.utc('last_read_at') }} as last_read_at,
  bookings_read,
  bookings_sent,
  requests,
  nullif(coverage, '') as coverage,
  {{ ravan_calcom.utc('covered_from') }} as covered_from,
  {{ ravan_calcom.utc('covered_until') }} as covered_until,
  {{ ravan_calcom.utc('gap_from') }} as gap_from,
  {{ ravan_calcom.utc('gap_to') }} as gap_to,
  {{ ravan_calcom.utc('gap_found_at') }} as gap_found_at,
  full_windows
from versions
where age = 1
