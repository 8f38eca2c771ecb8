#!/usr/bin/perl
# What every client shows that it can do (clients/README.md).
#
#     session.pl vectors | session FILE IMAGE | streams FILE
use v5.32;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Actord;
use Actord::Wire qw(bytes decode encode);

use constant { WAITS => 5000, ALLOWED => 4096, LINES => 60, YES => JSON::PP::true };
my $INPUT = "hello\n" . 'x' x 199_994;
$| = 1;

sub vectors {
    while (my $line = <STDIN>) {
        my @frames = map { $_ eq '-' ? '' : pack 'H*', $_ } split ' ', $line;
        my $message = eval { decode(@frames) };
        my $body = $message && eval { [Actord::Wire::body($message)] };
        say $message ? 'refused body' : 'refused message' and next unless $body;
        say join ' ', 'ok', map { length ? unpack 'H*', $_ : '-' } encode($message->{header}, $body->[0], @{ $message->{buffers} });
    }
}

my ($actord, $image);
END { $actord->close if $actord }

sub create {
    my ($args, %options) = @_;
    my $wish = { namespace => 'default', image => $image, options => { args => $args, %options } };
    my $box = $actord->request('containers.create', $wish, to => 'metadata');
    $actord->request('tasks.start', { run => 1 }, to => $box->{actor}, repeatable => 1);
    return $box;
}

# Its actor goes with it, at times before its answer: asked again, nobody is there.
sub remove {
    my ($box) = @_;
    eval { $actord->request('containers.remove', { force => YES }, to => $box->{actor}, repeatable => 1) };
    die $@ if $@ && $@->{code} ne 'not_found';
}

# Collects the output until its end or until `enough` says so, going on where it was after a break.
sub output {
    my ($box, $exec_id, $enough) = @_;
    my @text = ('', '', '');
    my $final = $actord->stream(
        'tasks.output',
        to   => $box->{actor},
        body => sub { { stdout => length $text[1], stderr => length $text[2], follow => YES, exec_id => $exec_id } },
        part => sub {
            $text[ Actord::Wire::body($_[0])->{stream} ] .= join '', @{ $_[0]{buffers} };
            return $enough && $enough->($text[1]);
        },
    );
    return (@text[1, 2], $final && $final->{exit_code});
}

sub run {
    my $box = create(['sh', '-c', 'tr a-z A-Z; echo done >&2; exit 7'], stdin => YES);
    for (my $at = 0; $at < length $INPUT; $at += Actord::PIECE) {
        my %how = (to => $box->{actor}, repeatable => 1, buffers => [substr $INPUT, $at, Actord::PIECE]);
        $actord->request('tasks.input', { writer => $box->{id}, offset => $at }, %how);
    }
    $actord->request('tasks.close_io', {}, to => $box->{actor}, repeatable => 1);
    my ($out, $err, $code) = output($box, '');
    printf "run: %s bytes out, %d bytes err, exit %d\n", $out eq uc $INPUT ? length $out : 'wrong', length $err, $code;
    remove($box);
}

sub exec_in {
    my ($box) = @_;
    my $wish = { exec_id => 'one', args => ['echo', 'from exec'] };
    $actord->request('tasks.exec', $wish, to => $box->{actor}, repeatable => 1);
    my ($out, undef, $code) = output($box, 'one');
    chomp $out;
    say "exec: $out, exit $code";
}

# So many topics behind event number $$last, which moves on with them.
sub topics {
    my ($container_id, $last, $wanted) = @_;
    my @topics;
    $actord->stream(
        'events.subscribe',
        to     => 'events',
        credit => 16,
        body   => sub { { container_id => $container_id, after => $$last, follow => YES } },
        part   => sub { $$last = $_[0]{header}{sq}; push(@topics, Actord::Wire::body($_[0])->{topic}) == $wanted },
    );
    return @topics;
}

sub events {
    my ($box) = @_;
    my $last = 0;
    my ($first) = topics($box->{id}, \$last, 1);
    my @others = topics($box->{id}, \$last, 2);
    say "events: $first, resumed: @others";
}

# More waits than are allowed; room made by cancelling; then a request that is tried until it passes.
sub overload {
    my ($box) = @_;
    my %seen = (answered => 0, refused => 0, cancelled => 0, exited => 0);
    my @ids  = map { $actord->send_request('tasks.wait', {}, to => $box->{actor}, dl => 600_000) } 1 .. WAITS;
    my %waits = map { $_ => 1 } @ids;
    my $count_until = sub {
        my ($what, $wanted) = @_;
        while ($seen{$what} < $wanted and my $message = $actord->next_message(1)) {
            next unless delete $waits{ ${ $message->{header}{re} // \'' } };
            my $body = Actord::Wire::body($message);
            $seen{answered}++;
            $seen{refused}++   if ($body->{code} // '') eq 'overloaded';
            $seen{cancelled}++ if ($body->{code} // '') eq 'unavailable';
            $seen{exited}++    if ($body->{exit_code} // 0) == 137;
        }
    };
    $count_until->('refused', WAITS - ALLOWED);
    for my $id (@ids) {    # the first ones were let in
        last if $seen{cancelled};
        $actord->cancel($id);
        $count_until->('cancelled', 1);
    }
    for (1 .. 100) {
        last if $seen{exited};
        $actord->send_request('tasks.kill', { signal => 9 }, to => $box->{actor}, dl => 30_000);
        $count_until->('exited', 1);
    }
    $count_until->('answered', WAITS);
    my $all = $seen{refused} && $seen{cancelled} && $seen{exited};
    say "overload: $seen{answered} answered, ", $all ? 'refused, cancelled and done' : '?';
}

sub reconnect {
    my $box = create(['sh', '-c', 'i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.02; done']);
    my $told;
    my ($out) = output($box, '', sub {
        say 'kill the router' unless defined $told;
        $told //= <STDIN>;
        return $actord->reconnections && ($_[0] =~ tr/\n//) >= LINES;
    });
    my @lines = split /\n/, $out =~ s/[^\n]*\z//r;
    my $in_order = !grep { $lines[$_] ne "line $_" } 0 .. $#lines;
    say 'reconnected: ', $told eq "killed\n" && $in_order ? 'every line, once' : $out;
    remove($box);
}

sub session {
    (my $path, $image) = @_;
    $actord = Actord->connect($path);
    say 'connected, protocol ', $actord->welcome->{protocol};
    my $actors = $actord->request('introspection.actors', {}, to => 'supervisor', repeatable => 1)->{actors};
    say 'list: metadata is there' if grep { $_->{name} eq 'metadata' } @$actors;
    eval { $actord->request('containers.get', { namespace => 'default', id => 'nobody' }, to => 'metadata') };
    say "error: $@->{code}";
    eval { $actord->request('containers.get', {}, to => 'x' x 300) };
    say 'malformed: not sent' if $@->{code} eq 'invalid_argument';
    my $pull = $actord->request('images.pull', { namespace => 'default', reference => $image }, to => 'supervisor', repeatable => 1);
    my $seen = 0;
    my $pulled = $actord->stream('transfers.attach', to => $pull->{actor}, part => sub { $seen++; 0 });
    say 'pull: ', $seen ? 'progress, then ' : '', $pulled->{name};
    run();
    my $box = create(['sleep', '1000']);
    exec_in($box);
    events($box);
    overload($box);
    remove($box);
    reconnect();
    say 'bye';
}

# Streams of which something is missing: whoever drives this leaves out messages, and says some twice.
sub streams {
    my ($path) = @_;
    ($actord, $image) = (Actord->connect($path), 'image');
    my ($out, undef, $code) = output(create([]), '');
    say "output: $out, exit $code";
    say 'events: ', join ' ', topics('', \(my $last = 0), 4);
}

my ($mode, @words) = @ARGV;
if (($mode // '') eq 'vectors') { vectors() }
elsif (($mode // '') eq 'session' && @words == 2) { session(@words) }
elsif (($mode // '') eq 'streams' && @words == 1) { streams(@words) }
else { die "session.pl vectors | session FILE IMAGE | streams FILE\n" }
