<?php
// What both tours of PHP share: how they log in and how they speak.

function login(string $separator): string
{
    $words = ['host' => 'PGHOST', 'port' => 'PGPORT', 'dbname' => 'PGDATABASE'];
    $said = array_map(fn($word) => $word . '=' . getenv($words[$word]), array_keys($words));
    return implode($separator, [...$said, 'sslmode=disable']);
}

function section(string $name): void
{
    echo "== $name\n";
}

function say(string $what, ...$values): void
{
    echo $what, ': ', json_encode($values), "\n";
}

function failed(string $what, callable $act): void
{
    try {
        say($what, 'no error', $act());
    } catch (Throwable $error) {
        say($what, get_class($error), $error->getCode(), explode("\n", $error->getMessage())[0]);
    }
}
