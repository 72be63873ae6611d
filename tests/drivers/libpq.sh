# What the programs over libpq read, from what the tests say.
export PGHOST="$T_HOST" PGPORT="$T_PORT" PGUSER="$T_USER" PGPASSWORD="$T_PASSWORD" PGDATABASE="$T_DATABASE"
if [ -n "$T_CA" ]; then
    export PGSSLMODE=verify-full PGSSLROOTCERT="$T_CA"
else
    export PGSSLMODE=disable
fi
if [ -n "$T_OPTIONS" ]; then export PGOPTIONS="$T_OPTIONS"; fi
