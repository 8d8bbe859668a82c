"""The meaning of bookings and of Cal.com's filters. Pure: imports neither airbyte_cdk nor requests."""
