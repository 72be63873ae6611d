# DBD::Pg: statements it prepares, COPY, asynchronous queries and large objects, with and without
# AutoCommit.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async);
use Data::Dumper;

$| = 1;
$Data::Dumper::Terse    = 1;
$Data::Dumper::Indent   = 0;
$Data::Dumper::Sortkeys = 1;

my @VARIANTS = (
    [ default        => {} ],
    [ unprepared     => { pg_server_prepare => 0 } ],
    [ switched       => { pg_switch_prepared => 1 } ],
    [ 'transactions' => { AutoCommit => 0 } ],
);
my @PARTS = (
    [ statements   => \&statements ],
    [ errors       => \&errors ],
    [ transactions => \&transactions ],
    [ copy         => \&copies ],
    [ asynchronous => \&asynchronous ],
    [ notify       => \&notify ],
    [ large        => \&large_objects ],
    [ catalog      => \&catalog ],
    [ changed      => \&changed ],
    [ deallocated  => \&deallocated ],
);

sub told {
    my ($what, @values) = @_;
    my @said = map { ref $_ ? Dumper($_) : $_ // 'undef' } @values;
    print "$what: ", join(' | ', @said), "\n";
}

sub failed {
    my ($what, $act) = @_;
    my @values = eval { $act->() };
    return told($what, 'no error', @values) unless $@;
    my ($message) = split /\n/, $@;
    # A statement is called after the process, an error after its line in here.
    $message =~ s{dbdpg_p\d+}{dbdpg_p};
    $message =~ s{ at \S+ line.*}{};
    told($what, $DBI::state, $message);
}

sub login {
    my ($options) = @_;
    my $source = "dbi:Pg:dbname=$ENV{PGDATABASE};host=$ENV{PGHOST};port=$ENV{PGPORT};sslmode=disable";
    my %always = (RaiseError => 1, PrintError => 0, AutoCommit => 1);
    return DBI->connect($source, $ENV{PGUSER}, $ENV{PGPASSWORD}, { %always, %$options });
}

# With AutoCommit nothing is left to end.
sub done {
    my ($db) = @_;
    $db->commit unless $db->{AutoCommit};
}

sub undone {
    my ($db) = @_;
    $db->rollback unless $db->{AutoCommit};
}

sub table {
    my ($db) = @_;
    $db->do('set client_min_messages to warning');
    $db->do('drop schema if exists drv_perl cascade');
    $db->do('create schema drv_perl');
    $db->do('create table drv_perl.t (id serial primary key, v text unique, a int[])');
    done($db);
}

sub insert {
    my ($db) = @_;
    return $db->prepare('insert into drv_perl.t (v, a) values (?, ?)');
}

sub statements {
    my ($db) = @_;
    my $insert = insert($db);
    $insert->execute("r$_", [ 1, $_ ]) for 1 .. 20;
    for my $id (1 .. 20) {
        my $one = $db->prepare('select v, a from drv_perl.t where id = ?');
        $one->execute($id);
        told('row', $one->fetchall_arrayref) if $id % 5 == 0;
    }
    done($db);
}

sub errors {
    my ($db) = @_;
    failed('unique', sub { insert($db)->execute('r1', [1]) });
    undone($db);
    failed('alive', sub { $db->selectrow_array('select 1') });
}

sub transactions {
    my ($db) = @_;
    my $insert = insert($db);
    $db->begin_work if $db->{AutoCommit};
    $insert->execute('tx', []);
    $db->pg_savepoint('s');
    failed('broken', sub { $db->do('select 1 / 0') });
    $db->pg_rollback_to('s');
    $insert->execute('behind', []);
    $db->commit;
    told('count', $db->selectrow_array('select count(*) from drv_perl.t'));
}

sub copies {
    my ($db) = @_;
    $db->do('copy drv_perl.t (v) from stdin');
    $db->pg_putcopydata("c$_\n") for 1 .. 100;
    $db->pg_putcopyend;
    $db->do('copy (select v from drv_perl.t order by id) to stdout');
    my ($rows, $row) = (0, '');
    $rows++ while $db->pg_getcopydata($row) >= 0;
    told('out', $rows);
    done($db);
}

sub asynchronous {
    my ($db) = @_;
    $db->do('select pg_sleep(0.2)', { pg_async => PG_ASYNC });
    told('slept', $db->pg_result);
    my $sum = $db->prepare('select 5 + ?', { pg_async => PG_ASYNC });
    $sum->execute(3);
    $sum->pg_result;
    told('sum', $sum->fetchrow_array);
    undef $sum;
    $db->do('select pg_sleep(30)', { pg_async => PG_ASYNC });
    # Until the server has surely begun.
    select(undef, undef, undef, 0.5);
    told('cancelled', $db->pg_cancel);
    undone($db);
}

sub notify {
    my ($db) = @_;
    $db->do('listen drv_perl');
    done($db);
    $db->do("notify drv_perl, 'own'");
    done($db);
    my $heard = $db->pg_notifies;
    told('heard', $heard->[0], $heard->[2]);
    $db->do('unlisten *');
    done($db);
}

sub large_objects {
    my ($db) = @_;
    $db->begin_work if $db->{AutoCommit};
    my $oid = $db->pg_lo_creat($db->{pg_INV_WRITE} | $db->{pg_INV_READ});
    my $open = $db->pg_lo_open($oid, $db->{pg_INV_WRITE});
    told('written', $db->pg_lo_write($open, 'x' x 1000, 1000));
    $db->pg_lo_close($open);
    $db->pg_lo_unlink($oid);
    $db->commit;
}

sub catalog {
    my ($db) = @_;
    my $tables = $db->table_info('', 'drv_perl', '', 'TABLE')->fetchall_arrayref({});
    told('tables', map { $_->{TABLE_NAME} } @$tables);
    my $columns = $db->column_info('', 'drv_perl', 't', '%')->fetchall_arrayref({});
    told('columns', map { "$_->{COLUMN_NAME} $_->{pg_type}" } @$columns);
    told('key', $db->primary_key('', 'drv_perl', 't'));
    told('last', $db->last_insert_id('', 'drv_perl', 't', ''));
    told('ping', $db->ping);
    done($db);
}

# A statement whose table has another column since it was prepared.
sub changed {
    my ($db) = @_;
    my $one = $db->prepare('select * from drv_perl.t where v = ?');
    $one->execute('r1');
    $db->do('alter table drv_perl.t add column z int');
    done($db);
    failed('changed', sub { $one->execute('r1'); scalar @{ $one->fetchall_arrayref } });
    undef $one;
    undone($db);
}

sub deallocated {
    my ($db) = @_;
    my $sum = $db->prepare('select 1 + ?');
    $sum->execute(1);
    $sum->finish;
    $db->do('deallocate all');
    failed('deallocated', sub { $sum->execute(2); $sum->fetchrow_array });
    undone($db);
}

for my $variant (@VARIANTS) {
    my ($named, $options) = @$variant;
    print "=== DBD::Pg $named\n";
    my $db = login($options);
    table($db);
    for my $part (@PARTS) {
        my ($called, $act) = @$part;
        print "== $called\n";
        next if eval { $act->($db); 1 };
        print "ENDED $@\n";
        undone($db);
    }
    $db->do('drop schema drv_perl cascade');
    done($db);
    $db->disconnect;
}
print "== end\n";
