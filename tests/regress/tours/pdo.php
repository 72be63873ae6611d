<?php
// PDO: statements it prepares, emulates or sends at once, and what its pgsql driver adds.

require __DIR__ . '/login.php';

const VARIANTS = [
    'default' => [],
    'emulated' => [PDO::ATTR_EMULATE_PREPARES => true],
    'unprepared' => [PDO::PGSQL_ATTR_DISABLE_PREPARES => true],
    'persistent' => [PDO::ATTR_PERSISTENT => true],
];

function connect(array $options): PDO
{
    $options[PDO::ATTR_ERRMODE] = PDO::ERRMODE_EXCEPTION;
    $password = getenv('PGPASSWORD') ?: null;
    return new PDO('pgsql:' . login(';'), getenv('PGUSER'), $password, $options);
}

function table(PDO $db): void
{
    $db->exec('set client_min_messages to warning; drop schema if exists drv_php cascade');
    $db->exec('create schema drv_php');
    $db->exec('create table drv_php.t (id serial primary key, v text unique, b bytea)');
}

function statements(PDO $db): void
{
    section('statements');
    for ($n = 0; $n < 30; $n++) {
        $insert = $db->prepare('insert into drv_php.t (v) values (:v) returning id');
        $insert->execute([':v' => "r$n"]);
        $id = $insert->fetchColumn();
        $insert = null;
    }
    say('id', $id);
    $one = $db->prepare('select v from drv_php.t where id = ?');
    $above = $db->prepare('select count(*) from drv_php.t where id > ?');
    for ($n = 1; $n < 10; $n++) {
        $one->execute([$n]);
        $row = $one->fetchAll(PDO::FETCH_ASSOC);
        $above->execute([$n]);
        say('two at once', $row, $above->fetchColumn());
    }
    $bytes = $db->prepare('select ?::bytea as b, ?::bool as t, ?::int as n');
    $bytes->bindValue(1, "\x00\xff", PDO::PARAM_LOB);
    $bytes->bindValue(2, true, PDO::PARAM_BOOL);
    $bytes->bindValue(3, null, PDO::PARAM_NULL);
    $bytes->execute();
    $row = $bytes->fetch(PDO::FETCH_ASSOC);
    say('types', bin2hex(stream_get_contents($row['b'])), $row['t'], $row['n']);
}

function errors(PDO $db): void
{
    section('errors');
    $again = fn() => $db->prepare('insert into drv_php.t (v) values (?)')->execute(['r1']);
    failed('unique', $again);
    failed('syntax', fn() => $db->query('selekt'));
    failed('alive', fn() => $db->query('select 1')->fetchColumn());
}

function transactions(PDO $db): void
{
    section('transactions');
    $db->beginTransaction();
    $db->exec("insert into drv_php.t (v) values ('tx')");
    failed('broken', fn() => $db->query('select 1 / 0'));
    failed('aborted', fn() => $db->query('select 1'));
    $db->rollBack();
    $db->beginTransaction();
    $insert = $db->prepare('insert into drv_php.t (v) values (?)');
    $insert->execute(['a']);
    $insert->execute(['b']);
    $insert = null;
    $db->commit();
    say('count', $db->query('select count(*) from drv_php.t')->fetchColumn(), $db->lastInsertId());
}

function cursors(PDO $db): void
{
    section('cursors');
    $db->prepare('declare held cursor with hold for select generate_series(1, 100)')->execute();
    say('held', $db->query('fetch 3 from held')->fetchAll(PDO::FETCH_COLUMN));
    $db->exec('close held');
    $db->beginTransaction();
    $scroll = [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL];
    $rows = $db->prepare('select g from generate_series(1, 20) g', $scroll);
    $rows->execute();
    say('first', $rows->fetch(PDO::FETCH_NUM));
    say('last', $rows->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_LAST));
    $rows = null;
    $db->commit();
}

function pgsql(PDO $db): void
{
    section('copy');
    say('in', $db->pgsqlCopyFromArray('drv_php.t (v)', ["c1\n", "c2\n"]));
    say('out', count($db->pgsqlCopyToArray('drv_php.t')));
    section('notify');
    $db->exec('listen drv_php');
    $db->exec("notify drv_php, 'own'");
    $heard = $db->pgsqlGetNotify(PDO::FETCH_ASSOC, 5000);
    say('heard', $heard['message'] ?? null, $heard['payload'] ?? null);
    $db->exec('unlisten *');
    section('large objects');
    $db->beginTransaction();
    $oid = $db->pgsqlLOBCreate();
    $stream = $db->pgsqlLOBOpen($oid, 'w');
    fwrite($stream, str_repeat('x', 10000));
    fclose($stream);
    say('read', strlen(stream_get_contents($db->pgsqlLOBOpen($oid))));
    $db->pgsqlLOBUnlink($oid);
    $db->commit();
}

foreach (VARIANTS as $name => $options) {
    echo "=== pdo $name\n";
    $db = connect($options);
    table($db);
    foreach (['statements', 'errors', 'transactions', 'cursors', 'pgsql'] as $part) {
        try {
            $part($db);
        } catch (Throwable $error) {
            echo 'ENDED ', $error, "\n";
        }
    }
    $db->exec('drop schema drv_php cascade');
    $db = null;
}
section('end');
