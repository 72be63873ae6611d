#!/bin/sh
# pgbench in each protocol: only what does not depend on the clock.
. "$(dirname "$0")/libpq.sh"
keep='^(number of (transactions|failed)|query mode|transaction type|scaling factor|pgbench: error|pgbench:.*abort)'
"$T_BIN/pgbench" -i -q -s 1 --foreign-keys >/dev/null 2>&1 || echo "initialisation failed"
for mode in simple extended prepared; do
    for script in tpcb-like select-only simple-update; do
        "$T_BIN/pgbench" -n -M "$mode" -b "$script" -c 3 -j 1 -t 40 2>&1 | grep -E "$keep"
    done
done
"$T_BIN/pgbench" -n -C -c 2 -j 2 -t 10 2>&1 | grep -E "$keep"
"$T_BIN/psql" -X -A -t -c "select count(*), (select count(*) from pgbench_accounts),
    (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history) from pgbench_history"
work=$(mktemp) && trap 'rm -f "$work"' EXIT
cat >"$work" <<'SQL'
\startpipeline
select abalance from pgbench_accounts where aid = 7;
update pgbench_branches set filler = 'x' where bid = 1;
begin;
select 1;
commit;
\endpipeline
SQL
for mode in extended prepared; do
    "$T_BIN/pgbench" -n -M "$mode" -f "$work" -c 2 -t 30 2>&1 | grep -E "$keep" | grep -v type
done
"$T_BIN/pgbench" -i -q -I d >/dev/null 2>&1 && echo dropped
