package Actord::Wire;

# msgpack and messages, as docs/protocol.md has them under "Values" and "Frames". Data::MessagePack does not tell
# text from bytes, which the protocol does: text is a string of Perl, bytes are an Actord::Bytes, true and false
# are those of JSON::PP.
use v5.32;
use warnings;
use B ();
use Encode ();
use Exporter 'import';
use JSON::PP ();

our @EXPORT_OK = qw(bytes encode decode body);
use constant { SIGNATURE => 'ACTD1', MAX_MESSAGE => 64 << 20, MAX_BODY => 16 << 20, MAX_BUFFERS => 16, MAX_DEPTH => 64 };
my %TYPES = map { $_ => 1 } qw(HELLO WELCOME REQ NOTE PART FIN ERR CANCEL CREDIT SUB EVT PING PONG BYE);
my %KEYS  = (
    (map { $_ => 'text' } qw(t to fr m ik tr)), (map { $_ => 'bytes' } qw(id re)), (map { $_ => 'number' } qw(inc dl sq nr cr)),
);

# Bytes, which are sent as such.
sub bytes { my $octets = shift; return bless \$octets, 'Actord::Bytes' }

# The frames of a message. Dies of what a router would refuse as malformed: it could not say whose message that was.
sub encode {
    my ($header, $body, @buffers) = @_;
    my @frames = (SIGNATURE, _pack($header), _pack($body // {}), @buffers);
    decode(@frames);
    return @frames;
}

sub _pack {
    my ($value) = @_;
    my $kind = ref $value;
    return "\xc0" unless defined $value;
    return $kind eq 'JSON::PP::Boolean' ? ($value ? "\xc3" : "\xc2")
        : $kind eq 'Actord::Bytes' ? _sized(0xc4, $$value)
        : $kind eq 'ARRAY' ? _head(0x90, 0xdc, scalar @$value) . join '', map { _pack($_) } @$value
        : $kind eq 'HASH' ? _head(0x80, 0xde, scalar keys %$value) . join '', map { _pack("$_") . _pack($value->{$_}) } sort keys %$value
        : _is_number($value) ? _number($value)
        : _text($value);
}

sub _is_number {
    my $flags = B::svref_2object(\$_[0])->FLAGS;
    return $flags & (B::SVf_IOK | B::SVf_NOK) && !($flags & B::SVf_POK);
}

sub _number {
    my ($value) = @_;
    return pack 'Cd>', 0xcb, $value if $value != int $value;
    return pack 'c', $value if $value >= -32 && $value < 128;
    return $value < 256 ? pack 'CC', 0xcc, $value : $value < 65536 ? pack 'Cn', 0xcd, $value
        : $value < 1 << 32 ? pack 'CN', 0xce, $value : pack 'CQ>', 0xcf, $value if $value > 0;
    return $value >= -128 ? pack 'Cc', 0xd0, $value : $value >= -32768 ? pack 'Cs>', 0xd1, $value
        : $value >= -(1 << 31) ? pack 'Cl>', 0xd2, $value : pack 'Cq>', 0xd3, $value;
}

sub _text {
    my $octets = Encode::encode('UTF-8', $_[0]);
    return length $octets < 32 ? chr(0xa0 | length $octets) . $octets : _sized(0xd9, $octets);
}

sub _sized {
    my ($tag, $octets) = @_;
    my $size = length $octets;
    return ($size < 256 ? pack 'CC', $tag, $size : $size < 65536 ? pack 'Cn', $tag + 1, $size : pack 'CN', $tag + 2, $size) . $octets;
}

sub _head {
    my ($small, $large, $size) = @_;
    return $size < 16 ? chr($small | $size) : $size < 65536 ? pack 'Cn', $large, $size : pack 'CN', $large + 1, $size;
}

# One value; dies of what does not follow the protocol.
sub _unpack {
    my ($octets) = @_;
    die "a value that is too large\n" if length $octets > MAX_BODY;
    my $at = 0;
    my $value = _read(\$octets, \$at, MAX_DEPTH);
    die "bytes behind a value\n" if $at != length $octets;
    return $value;
}

sub _take {
    my ($octets, $at, $size) = @_;
    die "a value that is cut short\n" if length($$octets) - $$at < $size;
    $$at += $size;
    return substr $$octets, $$at - $size, $size;
}

# By tag: how many bytes follow, how to unpack them, and what they are: a number, or the size of something.
my %FORMS = (
    0xc4 => [1, 'C', 'bytes'], 0xc5 => [2, 'n', 'bytes'], 0xc6 => [4, 'N', 'bytes'], 0xca => [4, 'f>'], 0xcb => [8, 'd>'],
    0xcc => [1, 'C'], 0xcd => [2, 'n'], 0xce => [4, 'N'], 0xcf => [8, 'Q>'], 0xd0 => [1, 'c'], 0xd1 => [2, 's>'],
    0xd2 => [4, 'l>'], 0xd3 => [8, 'q>'], 0xd9 => [1, 'C', 'text'], 0xda => [2, 'n', 'text'], 0xdb => [4, 'N', 'text'],
    0xdc => [2, 'n', 'array'], 0xdd => [4, 'N', 'array'], 0xde => [2, 'n', 'map'], 0xdf => [4, 'N', 'map'],
);

sub _read {
    my ($octets, $at, $depth) = @_;
    my $tag = ord _take($octets, $at, 1);
    return $tag if $tag < 0x80;
    return $tag - 256 if $tag >= 0xe0;
    return undef if $tag == 0xc0;
    return $tag == 0xc3 ? JSON::PP::true : JSON::PP::false if $tag == 0xc2 || $tag == 0xc3;
    my ($kind, $size) = $tag < 0x90 ? ('map', $tag & 15) : $tag < 0xa0 ? ('array', $tag & 15) : ('text', $tag & 31);
    if ($tag >= 0xc0) {
        my ($width, $format, $what) = @{ $FORMS{$tag} // die "an extension type\n" };
        $size = unpack $format, _take($octets, $at, $width);
        return $size unless defined $what;
        $kind = $what;
    }
    return bytes(_take($octets, $at, $size)) if $kind eq 'bytes';
    return _decoded(_take($octets, $at, $size)) if $kind eq 'text';
    die "nested too deep\n" unless $depth;
    die "a value that is cut short\n" if $size > length($$octets) - $$at;
    return [map { _read($octets, $at, $depth - 1) } 1 .. $size] if $kind eq 'array';
    return { map { _key($octets, $at) => _read($octets, $at, $depth - 1) } 1 .. $size };
}

sub _decoded {
    my ($octets) = @_;
    return eval { Encode::decode('UTF-8', $octets, Encode::FB_CROAK) } // die "text that is not UTF-8\n";
}

sub _key {
    my $key = _read(@_, 0);
    die "a map with a key that is no string\n" if _kind($key) ne 'text';
    return $key;
}

sub _kind {
    my ($value) = @_;
    my $kind = ref $value;
    return $kind eq 'Actord::Bytes' ? 'bytes' : $kind || !defined $value ? $kind : _is_number($value) ? 'number' : 'text';
}

# Reads a message: header, packed body, buffers. Dies of what does not follow the protocol.
sub decode {
    my @frames = @_;
    shift @frames if @frames && $frames[0] eq '';
    die "not a message of actord\n" if @frames < 2 || $frames[0] ne SIGNATURE;
    my $size = 0;
    $size += length for @frames;
    die "too many buffers or bytes\n" if @frames > 3 + MAX_BUFFERS || $size > MAX_MESSAGE;
    my $found = _unpack($frames[1]);
    die "the header is not a map\n" if ref $found ne 'HASH';
    my %header = map { $_ => $found->{$_} } grep { exists $KEYS{$_} } keys %$found;
    _check($_, $header{$_}) for keys %header;
    die "a message of no known type\n" unless $TYPES{ $header{t} // '' };
    return { header => \%header, packed => $frames[2] // "\x80", buffers => [@frames[3 .. $#frames]] };
}

# The body of a message; dies of what does not follow the protocol.
sub body { return _unpack($_[0]{packed}) }

sub _check {
    my ($key, $value) = @_;
    die "header key $key has the wrong type\n" if _kind($value) ne $KEYS{$key};
    my $out = $KEYS{$key} eq 'number' ? $value < 0 || $value != int $value : length(ref $value ? $$value : $value) > 256;
    die "header key $key is out of bounds\n" if $out;
}

1;
