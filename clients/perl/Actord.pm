package Actord;

# A client of actord. One connection, one thread; see README.md.
#
# Errors die: Actord::Error has code, text, outcome, retryable and final; no connection is one with the code
# `connect`.
use v5.32;
use warnings;
use Actord::Wire qw(bytes decode encode);
use Time::HiRes qw(sleep time);
use ZMQ::FFI;
use ZMQ::FFI::Constants qw(ZMQ_DEALER ZMQ_PAIR ZMQ_DONTWAIT);

use constant { PATIENCE => 10, RETRY => 0.05, LATE => 1, SHAKE_HANDS => 5, CREDIT => 1 << 20, PIECE => 65536, QUEUE => 10_000 };
# Options of sockets and events of monitors, by the numbers of zmq.h: this binding does not name all of them.
my %OPTIONS = (
    17 => 0,       # LINGER
    18 => -1,      # RECONNECT_IVL: who has lost a connection must know it: what was asked is lost too
    23 => QUEUE, 24 => QUEUE, 39 => 1,    # SNDHWM, RCVHWM, IMMEDIATE
    34 => 1, 35 => 3, 36 => 1, 37 => 1, 80 => 3000,    # TCP_KEEPALIVE, _CNT, _IDLE, _INTVL, TCP_MAXRT
    42 => 1, 66 => 4000,    # IPV6, HANDSHAKE_IVL
);
use constant { PUBLICKEY => 48, SECRETKEY => 49, SERVERKEY => 50, ALL_EVENTS => 0xffff, HANDSHAKE_SUCCEEDED => 0x1000 };
my %REFUSED = map { $_ => 1 } 0x2000, 0x4000;                    # HANDSHAKE_FAILED_PROTOCOL, _AUTH
my %OVER    = map { $_ => 1 } 0x0004, 0x0080, 0x0200, 0x0800;    # CONNECT_RETRIED, CLOSED, DISCONNECTED, HANDSHAKE_FAILED
my $PARENT = qr/\A(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\z/;    # W3C Trace Context
my $monitors = 0;

# Connects to the daemon that a connection file names.
sub connect {
    my ($class, $path) = @_;
    my $self = bless { path => $path // '/run/actord/connection.json', reconnections => -1, context => ZMQ::FFI->new }, $class;
    my $parent = $ENV{TRACEPARENT} // '';
    $self->{trace} = $parent =~ $PARENT ? $parent : unpack 'H*', _new_id();
    $self->_open;
    return $self;
}

sub welcome       { return $_[0]{welcome} }
sub reconnections { return $_[0]{reconnections} }

# What requests belong to: a trace id or a `traceparent`, from the environment or new. Given another, takes that.
sub trace {
    my ($self, $trace) = @_;
    $self->{trace} = $trace if defined $trace;
    return $self->{trace};
}

# Closes the connection. A context waits for its sockets, and Perl destroys what is left at the end of a program in any
# order: an object that lives until then is to be closed before, in an END block if need be.
sub close {
    my ($self) = @_;
    $self->_hang_up;
    delete $self->{context};
    return;
}

sub DESTROY { $_[0]->close }

# Asks actor `to`. What has not begun is tried again until `limit` (seconds); what may have happened only if it is
# `repeatable`. `buffers` go beside the body.
sub request {
    my ($self, $op, $body, %how) = @_;
    my $until = time + ($how{limit} // 30);
    while (1) {
        my $answer = eval { $self->_ask($op, $body, $until, %how) };
        return $answer if defined $answer;
        my $error = $@;
        die $error unless ref $error eq 'Actord::Error' && $error->{retryable};
        die $error unless $error->{outcome} eq 'not_started' || $how{repeatable} && $error->{outcome} ne 'done';
        die $error if time + RETRY > $until;
        sleep RETRY;
    }
}

# Asks for a stream: `part` gets each message, and ends the stream when it returns something true; `body` gives the
# request's body, for each attempt anew: after a break, and when an answer was lost on the way. Gives the final answer,
# undef when `part` ended it.
sub stream {
    my ($self, $op, %how) = @_;
    my $since = time;
    while (1) {
        my $final = eval { [$self->_follow($op, \$since, %how)] };
        return $final->[0] if $final;
        my $error = $@;
        die $error unless ref $error eq 'Actord::Error' && $error->{retryable};
        die $error if $error->{final} && $error->{code} ne 'overloaded' || time - $since > PATIENCE;
        sleep RETRY;
    }
}

# For programs with many requests under way: sends one, gives its id.
sub send_request {
    my ($self, $op, $body, %how) = @_;
    my $id = _new_id();
    my %header = (t => 'REQ', id => bytes($id), to => $how{to}, m => $op, tr => $self->{trace});
    $header{$_} = $how{$_} for grep { $how{$_} } qw(dl cr);
    $self->_send(\%header, $body, @{ $how{buffers} // [] });
    return $id;
}

sub cancel { my ($self, $id) = @_; $self->_send({ t => 'CANCEL', re => bytes($id) }); return }

# The next message within so many seconds, undef for none; dies when the connection broke.
sub next_message {
    my ($self, $seconds) = @_;
    my $until = time + $seconds;
    while (1) {
        die "lost\n" unless $self->{socket};
        if ($self->{socket}->has_pollin) {    # what had come before the end still counts
            my $message = eval { decode($self->{socket}->recv_multipart) };
            return $message if $message;
            next;
        }
        die "lost\n" if $self->{monitor}->has_pollin && $OVER{ $self->_event };
        my $left = $until - time;
        return undef if $left <= 0;
        $self->_rest($left);
    }
}

# One attempt

sub _ask {
    my ($self, $op, $body, $until, %how) = @_;
    my $left = int(1000 * ($until - time));
    my ($id, $message);
    my $lost = !eval {
        $id = $self->send_request($op, $body, %how, dl => $left > 0 ? $left : 1);
        $message = $self->_about($id, $until + LATE);
        1;
    };
    $self->_lost($op, defined $id) if $lost;
    _fail('deadline_exceeded', "$op: no answer from $how{to}", 'unknown') unless $message;
    return _result($message);
}

sub _follow {
    my ($self, $op, $since, %how) = @_;
    my ($credit, $used, $heard, $id) = ($how{credit} // CREDIT, 0, 0);
    my $body = $how{body} ? $how{body}->() : {};
    eval { $id = $self->send_request($op, $body, to => $how{to}, cr => $credit); 1 } or $self->_lost($op, 0);
    while (1) {
        my $message = eval { $self->_about($id, time + 3600) };
        next if !$message && !$@;
        $self->_lost($op, 1) unless $message;
        if (($message->{header}{nr} // $heard + 1) != ++$heard) {
            eval { $self->cancel($id) };
            _fail('unavailable', "$op: an answer was lost on the way", 'unknown');
        }
        my $type = $message->{header}{t};
        return _result($message) unless $type eq 'PART' || $type eq 'EVT';
        $$since = time;
        if ($how{part}->($message)) {
            eval { $self->cancel($id) };
            return undef;
        }
        $used += $type eq 'EVT' ? 1 : length join '', @{ $message->{buffers} };
        $used = 0 if $used * 2 >= $credit && eval { $self->_send({ t => 'CREDIT', re => bytes($id), cr => $used }); 1 };
    }
}

sub _about {
    my ($self, $id, $until) = @_;
    while (1) {
        my $message = $self->next_message($until - time) // return undef;
        return $message if defined $message->{header}{re} && ${ $message->{header}{re} } eq $id;
    }
}

sub _result {
    my ($message) = @_;
    my $body = Actord::Wire::body($message);
    return $body if $message->{header}{t} ne 'ERR';
    die Actord::Error->new(%$body, text => $body->{msg}, final => !!$message->{header}{fr});
}

sub _fail {
    my ($code, $text, $outcome) = @_;
    die Actord::Error->new(code => $code, text => $text, outcome => $outcome, retryable => $code eq 'unavailable');
}

# Renews the connection, and says what has become of the request; what could not be sent at all has an error already.
sub _lost {
    my ($self, $op, $sent) = @_;
    die $@ if ref $@ eq 'Actord::Error';
    my $until = time + PATIENCE;
    until (eval { $self->_open; 1 }) {
        die $@ if time > $until;
        sleep RETRY;
    }
    _fail('unavailable', "$op: the connection broke before the answer", $sent ? 'unknown' : 'not_started');
}

# The connection

sub _open {
    my ($self) = @_;
    $self->_hang_up;
    my $address = $self->_address;
    my $name = 'inproc://actord-monitor-' . ++$monitors;
    my $socket = $self->{context}->socket(ZMQ_DEALER);
    $socket->set($_, 'int', $OPTIONS{$_}) for keys %OPTIONS;
    if ($address->{server}) {
        $socket->set(SERVERKEY, 'string', $address->{server});
        $socket->set(PUBLICKEY, 'string', $address->{public});
        $socket->set(SECRETKEY, 'string', $address->{secret});
    }
    $socket->monitor($name, ALL_EVENTS);
    @$self{qw(socket monitor)} = ($socket, $self->{context}->socket(ZMQ_PAIR));
    $self->{monitor}->connect($name);
    eval { $socket->connect($address->{endpoint}); 1 } or _fail('connect', "cannot connect to $address->{endpoint}: $@", 'not_started');
    $self->_shake_hands($address->{endpoint});
    $self->_greet($address->{endpoint});
    $self->{reconnections}++;
}

sub _hang_up { delete @{ $_[0] }{qw(socket monitor)}; return }

sub _address {
    my ($self) = @_;
    open my $file, '<', $self->{path} or _fail('connect', "cannot read $self->{path}: $!; is actord running on this host?", 'not_started');
    my $found = eval { JSON::PP::decode_json(do { local $/; <$file> }) };
    my $endpoint = ref $found eq 'HASH' ? $found->{endpoint} // ($found->{endpoints} // [])->[0] : undef;
    _fail('connect', "$self->{path} is no connection file: actr keys new makes one", 'not_started') unless $endpoint;
    return { %$found, endpoint => $endpoint };
}

sub _shake_hands {
    my ($self, $endpoint) = @_;
    my $until = time + SHAKE_HANDS;
    while (time < $until) {
        next unless $self->{monitor}->has_pollin || $self->_rest(0.1);
        my $event = $self->_event;
        return if $event == HANDSHAKE_SUCCEEDED;
        _fail('connect', "the daemon at $endpoint does not know this key: actr keys allow, there", 'not_started') if $REFUSED{$event};
        last if $OVER{$event};
    }
    _fail('connect', "nobody answers at $endpoint, or it has another key", 'not_started');
}

sub _greet {
    my ($self, $endpoint) = @_;
    my $id = _new_id();
    my $message = eval { $self->_send({ t => 'HELLO', id => bytes($id) }, { minor => 0, features => [] }); $self->_about($id, time + SHAKE_HANDS) };
    _fail('connect', "what answers at $endpoint is not actord", 'not_started') unless $message && $message->{header}{t} eq 'WELCOME';
    $self->{welcome} = Actord::Wire::body($message);
}

sub _event { return unpack 'S', ($_[0]{monitor}->recv_multipart)[0] }

sub _send {
    my ($self, @message) = @_;
    die "lost\n" unless $self->{socket};
    my $frames = eval { [encode(@message)] } // _fail('invalid_argument', "cannot be sent: $@", 'not_started');
    $self->{socket}->send_multipart($frames, ZMQ_DONTWAIT);
    return;
}

# Until something may have come, at most so long. A descriptor of ZeroMQ tells only of changes: who calls this has
# looked before, and looks again afterwards; the tenth of a second is for what changed in between.
sub _rest {
    my ($self, $seconds) = @_;
    my $wanted = '';
    vec($wanted, $_->get_fd, 1) = 1 for @$self{qw(socket monitor)};
    select $wanted, undef, undef, $seconds < 0.1 ? $seconds : 0.1;
    return 0;
}

sub _new_id {
    open my $source, '<:raw', '/dev/urandom' or die "no randomness: $!";
    sysread $source, my $id, 16;
    return $id;
}

package Actord::Error;

use overload '""' => sub { "$_[0]{text}\n" }, fallback => 1;

sub new {
    my ($class, %fields) = @_;
    return bless { code => 'internal', text => 'no text', outcome => 'unknown', final => 0, %fields }, $class;
}

1;
