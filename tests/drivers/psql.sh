#!/bin/sh
# psql over the whole of psql.sql; `-a` so that each answer stands after its question.
. "$(dirname "$0")/libpq.sh"
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
seq 1 20000 >"$work/file"
"$T_BIN/psql" -X -q -a -v file="$work/file" -v copied="$work/copied" -f "$(dirname "$0")/psql.sql" 2>&1 |
    sed -e "s/$T_DATABASE/<name>/g" -e "s/\"\?$T_ROLE\"\?/<name>/g" -e 's/^LOCATION: .*/LOCATION/' \
        -e 's/^psql:[^ ]*: //' -e "s#$work#<work>#g"
cksum <"$work/copied"
