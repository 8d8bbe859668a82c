with bookings as (

  select
    organization_id,
    cast(start_time at time zone '{{ var("ravan_calcom_timezone") }}' as date) as day,
    status,
    start_time,
    first_synced_at,
    -- The first sync doesn't show when its bookings were made.
    first_synced_at > min(first_synced_at) over (partition by organization_id) as is_later
  from {{ ref('stg_appointments') }}
  where start_time is not null

)

select
  organization_id,
  day,
  count(*) as bookings,
  count(*) filter (where status = 'accepted') as accepted,
  count(*) filter (where status = 'pending') as pending,
  count(*) filter (where status = 'cancelled') as cancelled,
  count(*) filter (where status = 'rejected') as rejected,
  cast(count(*) filter (where status = 'cancelled') as double precision) / count(*) as share_cancelled,
  percentile_cont(0.5) within group (
    order by case
      when is_later and first_synced_at < start_time
        then cast(extract(epoch from start_time - first_synced_at) as double precision) / 3600
    end
  ) as median_lead_hours
from bookings
group by organization_id, day
