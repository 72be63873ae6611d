-- psql: simple protocol, meta commands, \copy, large objects by function call.
\set VERBOSITY verbose
\set SHOW_CONTEXT always
\pset null '<null>'
set client_min_messages to warning;
drop schema if exists drv_psql cascade;
create schema drv_psql;
reset client_min_messages;
set search_path to drv_psql;
set timezone to 'UTC';

\echo == types
\x on
select true, null::int, (-32768)::int2, 2147483647::int4, 1.5::float4, 'NaN'::float8, 'plain'::text,
  '\x00ff10'::bytea, '2026-02-28 12:34:56+02'::timestamptz, '1 day 02:03:04'::interval,
  array[1,2,null], '{"b": {"c": 2}}'::jsonb, '10.1.2.3'::inet, '(1,2)'::point, row(1,'x');
\x off

\echo == transactions
create table t (id int primary key, v text not null, at date default '2026-01-01');
begin;
insert into t values (1, 'one');
savepoint s;
insert into t values (1, 'again');
select 1;
rollback to s;
insert into t values (2, 'two') returning *;
commit;
begin isolation level repeatable read, read only;
insert into t values (3, 'three');
rollback;
commit;
select * from t order by id;
\d t
\set AUTOCOMMIT off
insert into t values (4, 'four');
rollback;
\set AUTOCOMMIT on
select count(*) from t;
begin; insert into t values (5, 'five') \; select 'same message' \; commit;
select 1 \; select 2 \; select 1/0 \; select 3;
select count(*) from t;
;

\echo == cursors
\set FETCH_COUNT 100
select sum(length(s)), count(*) from (select repeat('x', g % 10) as s from generate_series(1, 5000) g) q;
select g from generate_series(1, 250) g \g /dev/null
\unset FETCH_COUNT
begin;
declare c scroll cursor with hold for select generate_series(1, 100);
commit;
fetch 3 from c;
move forward 50 in c;
fetch backward 2 from c;
close c;
fetch 1 from c;

\echo == copy
create table c (a int, b text);
copy c from stdin;
1	one
2	\N
3	tab\there
\.
copy c to stdout;
copy c to stdout (format csv, header, null 'none', quote '"', force_quote *);
copy (select a, b from c where false) to stdout;
\copy c from program 'seq 10 1000' (format csv, force_null (b), delimiter '|')
\copy (select g, md5(g::text) from generate_series(1, 1000) g) to program 'cksum'
copy c from stdin;
7	fine
not a number	x
\.
copy c from stdin (format csv);
8,"unterminated
\.
copy (select 1/(5-g) from generate_series(1, 10) g) to stdout;
\copy c (a) from program 'seq 10 1000'
select count(*), sum(a) from c;

\echo == statements
prepare p (int, text) as select $1 * 2, upper($2);
execute p (21, 'x');
prepare p as select 1;
execute p (1);
select name, statement, parameter_types from pg_prepared_statements;
deallocate p;
execute p (1, 'x');
prepare q as select * from c limit 1;
execute q;
alter table c add d int default 7;
execute q;
deallocate all;

\echo == errors
selekt 1;
select * from nowhere;
select 1/0;
insert into t values (1, 'dup');
insert into t values (9, null);
do $$ begin raise exception 'mine' using errcode = 'P1234', detail = 'the detail', hint = 'the hint'; end $$;
do $$ begin perform 1/0; end $$;
select 'x'::int;
set nothing.at_all = 1;
set no_such_setting = 1;
show no_such_setting;
vacuum (nonsense) t;
begin; vacuum t;
rollback;
set statement_timeout = '30ms';
select pg_sleep(30);
reset statement_timeout;
set role postgres;
select count(*) from pg_authid;
drop database postgres;

\echo == notices
do $$ begin raise debug 'd'; raise log 'l'; raise info 'i'; raise notice 'n'; raise warning 'w'; end $$;
drop table if exists nowhere;
set client_min_messages to debug1;
do $$ begin raise debug 'now visible'; end $$;
reset client_min_messages;

\echo == settings
show timezone;
set timezone to 'Asia/Tokyo';
begin; set local timezone to 'America/New_York'; show timezone; commit;
show timezone;
begin; set timezone to 'Europe/Berlin'; rollback;
show timezone;
set datestyle to 'German'; select date '2026-02-28'; reset datestyle;
set client_encoding to 'LATIN1';
\echo :ENCODING
set client_encoding to 'UTF8';
\echo :ENCODING
set my.own = 'kept'; select current_setting('my.own');
select set_config('my.own', 'changed', false); show my.own;
begin; select set_config('my.own', 'local', true); show my.own; commit; show my.own;
discard all;
-- A server that never heard of it says NULL, one that forgot it says ''.
select coalesce(current_setting('my.own', true), '') = '';
set search_path to drv_psql;

\echo == session state
create temp table tt (a int) on commit preserve rows;
insert into tt values (1), (2);
select * from tt;
select pg_advisory_lock(815), pg_try_advisory_lock(815);
select pg_advisory_unlock(815), pg_advisory_unlock(815), pg_advisory_unlock(815);
create temp sequence ts; select nextval('ts'), nextval('ts'); select currval('ts'), lastval();
listen drv_psql; select count(*) from pg_listening_channels(); unlisten *; select count(*) from pg_listening_channels();
select 'kept' as a, 42 as b \gset
\echo :a :b
select format('select %s as generated', g) from generate_series(1, 3) g \gexec

\echo == large objects
\lo_import :file
\set loid :LASTOID
select length(lo_get(:loid)), md5(lo_get(:loid));
begin;
select lo_open(:loid, 393216) as fd \gset
select lo_lseek(:fd, 100, 0), md5(loread(:fd, 50)), lo_tell(:fd), lo_truncate(:fd, 120);
select lo_close(:fd);
commit;
\lo_export :loid :copied
\lo_unlink :loid
select count(*) from pg_largeobject_metadata where oid = :loid;

\echo == large
select md5(repeat('x', 50000000)), length(repeat('y', 50000000));
\pset format unaligned
\pset tuples_only on
select repeat('z', 20000000) \g | cksum
select g, repeat('w', g % 100) from generate_series(1, 100000) g \g | cksum

set client_min_messages to warning;
drop schema drv_psql cascade;
\echo == end
