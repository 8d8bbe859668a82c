{#- Return a time with a zone. PyAirbyte's columns have no zone and are in UTC, those of Airbyte's destinations have one. -#}
{%- macro utc(column) -%}{{ return(adapter.dispatch('utc', 'ravan_calcom')(column)) }}{%- endmacro -%}

{%- macro default__utc(column) -%}to_timestamp(extract(epoch from {{ column }})){%- endmacro -%}
