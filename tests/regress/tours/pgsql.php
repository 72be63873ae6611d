<?php
// PHP's functions over libpq, pg_connect and the others.

require __DIR__ . '/login.php';

function results($db): array
{
    $values = [];
    while ($result = pg_get_result($db)) {
        $values[] = pg_fetch_result($result, 0, 0);
    }
    return $values;
}

$password = getenv('PGPASSWORD');
$db = pg_connect(login(' ') . ' user=' . getenv('PGUSER') . ($password ? " password=$password" : ''));

section('statements');
say('parameters', pg_fetch_all(pg_query_params($db, 'select $1::int as a', [4])));
pg_prepare($db, 'mine', 'select $1::text as b');
for ($n = 0; $n < 3; $n++) {
    say('prepared', pg_fetch_all(pg_execute($db, 'mine', ["x$n"])));
}
pg_send_query($db, 'select 1; select 2');
say('several', results($db));
pg_send_query_params($db, 'select $1::int + 1', [1]);
say('sent', results($db));

section('rows');
pg_query($db, 'create table drv_php_rows (id int primary key, v text)');
say('insert', (bool) pg_insert($db, 'drv_php_rows', ['id' => 1, 'v' => 'x']));
say('update', pg_update($db, 'drv_php_rows', ['v' => 'y'], ['id' => 1]));
say('select', pg_select($db, 'drv_php_rows', ['id' => 1]));
say('columns', pg_meta_data($db, 'drv_php_rows'));
say('copy', pg_copy_from($db, 'drv_php_rows', ["2\tz\n"]), pg_copy_to($db, 'drv_php_rows'));
say('delete', pg_delete($db, 'drv_php_rows', ['id' => 1]));
pg_query($db, 'drop table drv_php_rows');

section('errors');
pg_send_query($db, 'select * from nowhere');
$result = pg_get_result($db);
say('nowhere', pg_result_error_field($result, PGSQL_DIAG_SQLSTATE), pg_result_error($result));
pg_get_result($db);

section('session');
say('ping', pg_ping($db), pg_transaction_status($db), pg_parameter_status($db, 'server_encoding'));
pg_query($db, 'listen drv_php_own');
pg_query($db, "notify drv_php_own, 'own'");
$heard = pg_get_notify($db);
say('heard', $heard['message'], $heard['payload']);
pg_close($db);
section('end');
