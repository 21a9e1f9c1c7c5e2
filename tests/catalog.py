"""Describes a database's schema, read from the system catalogs, as lines that can be compared."""

import asyncpg

_DESCRIBE = """
    SELECT 'column ' || class.relname || ' ' || attribute.attnum || ' ' || attribute.attname || ' '
           || format_type(attribute.atttypid, attribute.atttypmod)
           || CASE WHEN attribute.attnotnull THEN ' NOT NULL' ELSE '' END
           || ' identity=' || attribute.attidentity::text || ' generated=' || attribute.attgenerated::text
           || ' storage=' || attribute.attstorage::text || ' collation=' || attribute.attcollation::regcollation::text
           || ' default=' || coalesce(pg_get_expr(attrdef.adbin, attrdef.adrelid), 'none')
           || ' rights=' || coalesce(attribute.attacl::text, 'none')
    FROM pg_attribute AS attribute
    JOIN pg_class AS class ON class.oid = attribute.attrelid AND class.relnamespace = 'public'::regnamespace
    LEFT JOIN pg_attrdef AS attrdef ON attrdef.adrelid = class.oid AND attrdef.adnum = attribute.attnum
    WHERE attribute.attnum > 0 AND NOT attribute.attisdropped AND class.relkind <> 'i'
    UNION ALL
    SELECT 'relation ' || relname || ' kind=' || relkind::text || ' persistence=' || relpersistence::text
           || ' options=' || coalesce(reloptions::text, 'none') || ' rights=' || coalesce(relacl::text, 'none')
           || ' row security=' || relrowsecurity
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'constraint ' || conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid)
           || ' validated=' || convalidated
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index ' || pg_get_indexdef(indexrelid) || ' valid=' || indisvalid || ' ready=' || indisready
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid AND relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'type ' || typname || ' ' || coalesce(string_agg(enumlabel, ',' ORDER BY enumsortorder), '')
    FROM pg_type LEFT JOIN pg_enum ON enumtypid = pg_type.oid
    WHERE typnamespace = 'public'::regnamespace
    GROUP BY typname
    UNION ALL
    SELECT 'sequence ' || sequencename || ' ' || data_type::text || ' ' || start_value || ' ' || increment_by || ' '
           || max_value || ' cycle=' || cycle
    FROM pg_sequences WHERE schemaname = 'public'
    UNION ALL
    SELECT 'comment ' || identity || ': ' || pg_description.description
    FROM pg_description, pg_identify_object(classoid, objoid, objsubid) WHERE schema = 'public'
    UNION ALL
    SELECT 'extension ' || extname FROM pg_extension
    UNION ALL
    SELECT 'schema version ' || version FROM schema_version
    UNION ALL
    SELECT 'migration ' || name FROM schema_migration
    UNION ALL
    SELECT 'shard ' || shard FROM outbox_shard
"""


async def describe_schema(connection: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """Return a line for each object with its definition, and for each row that a new schema contains."""
    return sorted(row[0] for row in await connection.fetch(_DESCRIBE))
