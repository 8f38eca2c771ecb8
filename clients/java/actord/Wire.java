package actord;

import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Messages to frames and back, as docs/protocol.md has them under "Frames" and "Values".
 *
 * <p>Values: null, Boolean, Long (what is larger is a BigInteger), Double, String, byte[], List, and Map with strings
 * for keys.
 */
public final class Wire {
    private static final byte[] SIGNATURE = "ACTD1".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] EMPTY = {(byte) 0x80};
    private static final int MAX_MESSAGE = 64 << 20;
    private static final int MAX_BODY = 16 << 20;
    private static final int MAX_BUFFERS = 16;
    private static final int MAX_DEPTH = 64;
    private static final int MAX_NAME = 256;
    private static final Set<String> TYPES = Set.of("HELLO", "WELCOME", "REQ", "NOTE", "PART", "FIN", "ERR", "CANCEL",
            "CREDIT", "SUB", "EVT", "PING", "PONG", "BYE");
    private static final Map<String, Class<?>> KEYS = new LinkedHashMap<>();

    static {
        for (String key : List.of("t", "to", "fr", "m", "ik", "tr")) KEYS.put(key, String.class);
        for (String key : List.of("id", "re")) KEYS.put(key, byte[].class);
        for (String key : List.of("inc", "dl", "sq", "nr", "cr")) KEYS.put(key, Long.class);
    }

    private Wire() {}

    /** What does not follow the protocol. */
    public static final class ProtocolException extends RuntimeException {
        ProtocolException(String text) {
            super(text);
        }
    }

    /** One message; its body still as it came. */
    public record Message(Map<String, Object> header, byte[] packed, List<byte[]> buffers) {
        /** FIN, PART and so on. */
        public String type() {
            return (String) header.get("t");
        }

        /** Whether it concerns this request. */
        public boolean concerns(byte[] id) {
            return header.get("re") instanceof byte[] re && Arrays.equals(re, id);
        }

        /** The body, read. */
        public Object value() {
            return unpack(packed);
        }

        /** The body, which is a map. */
        @SuppressWarnings("unchecked")
        public Map<String, Object> body() {
            return value() instanceof Map<?, ?> map ? (Map<String, Object>) map : Map.of();
        }

        /** The bytes beside the body. */
        public byte[] bytes() {
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            buffers.forEach(all::writeBytes);
            return all.toByteArray();
        }
    }

    /**
     * The frames of a message. Throws ProtocolException also for what a router would refuse as malformed: it could not
     * say whose message that was.
     */
    public static List<byte[]> encode(Map<String, ?> header, Object body, List<byte[]> buffers) {
        List<byte[]> frames = new ArrayList<>(List.of(SIGNATURE, pack(header), pack(body)));
        frames.addAll(buffers);
        decode(frames);
        return frames;
    }

    /** Reads a message. Throws ProtocolException. */
    public static Message decode(List<byte[]> all) {
        List<byte[]> frames = !all.isEmpty() && all.get(0).length == 0 ? all.subList(1, all.size()) : all;
        if (frames.size() < 2 || !Arrays.equals(frames.get(0), SIGNATURE)) {
            throw new ProtocolException("not a message of actord");
        }
        if (frames.size() > 3 + MAX_BUFFERS || frames.stream().mapToLong(frame -> frame.length).sum() > MAX_MESSAGE) {
            throw new ProtocolException("too many buffers or bytes");
        }
        if (!(unpack(frames.get(1)) instanceof Map<?, ?> found)) throw new ProtocolException("the header is not a map");
        Map<String, Object> header = new LinkedHashMap<>();
        KEYS.forEach((key, kind) -> {
            if (found.containsKey(key)) header.put(key, checked(key, found.get(key), kind));
        });
        if (!(header.get("t") instanceof String type && TYPES.contains(type))) {
            throw new ProtocolException("a message of no known type");
        }
        byte[] packed = frames.size() > 2 ? frames.get(2) : EMPTY;
        return new Message(header, packed, frames.size() > 3 ? frames.subList(3, frames.size()) : List.of());
    }

    private static Object checked(String key, Object value, Class<?> kind) {
        boolean fine = kind.isInstance(value) || kind == Long.class && value instanceof BigInteger;
        if (!fine) throw new ProtocolException("header key " + key + " has the wrong type");
        boolean bounded = value instanceof String text ? text.codePointCount(0, text.length()) <= MAX_NAME
                : value instanceof byte[] bytes ? bytes.length <= MAX_NAME : ((Number) value).doubleValue() >= 0;
        if (!bounded) throw new ProtocolException("header key " + key + " is out of bounds");
        return value;
    }

    // Writing

    /** One value. */
    public static byte[] pack(Object value) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        write(out, value);
        return out.toByteArray();
    }

    private static void write(ByteArrayOutputStream out, Object value) {
        if (value == null) out.write(0xc0);
        else if (value instanceof Boolean truth) out.write(truth ? 0xc3 : 0xc2);
        else if (value instanceof Double real) number(out, 0xcb, 8, Double.doubleToLongBits(real));
        else if (value instanceof BigInteger large) number(out, 0xcf, 8, large.longValue());
        else if (value instanceof Number whole) integer(out, whole.longValue());
        else if (value instanceof String text) sized(out, 0xd9, 32, text.getBytes(StandardCharsets.UTF_8));
        else if (value instanceof byte[] bytes) sized(out, 0xc4, 0, bytes);
        else if (value instanceof List<?> list) {
            head(out, 0x90, 0xdc, list.size());
            list.forEach(one -> write(out, one));
        } else if (value instanceof Map<?, ?> map) {
            head(out, 0x80, 0xde, map.size());
            map.forEach((key, inner) -> {
                write(out, key);
                write(out, inner);
            });
        } else throw new ProtocolException("a " + value.getClass().getName() + " cannot be sent");
    }

    private static void number(ByteArrayOutputStream out, int tag, int width, long value) {
        out.write(tag);
        for (int at = width - 1; at >= 0; at--) out.write((int) (value >> 8 * at));
    }

    private static void integer(ByteArrayOutputStream out, long value) {
        if (value >= -32 && value < 128) out.write((int) value);
        else if (value >= 0) {
            int power = value < 1L << 8 ? 0 : value < 1L << 16 ? 1 : value < 1L << 32 ? 2 : 3;
            number(out, 0xcc + power, 1 << power, value);
        } else {
            int power = value >= Byte.MIN_VALUE ? 0 : value >= Short.MIN_VALUE ? 1 : value >= Integer.MIN_VALUE ? 2 : 3;
            number(out, 0xd0 + power, 1 << power, value);
        }
    }

    private static void sized(ByteArrayOutputStream out, int tag, int below, byte[] bytes) {
        int power = bytes.length < 256 ? 0 : bytes.length < 65536 ? 1 : 2;
        if (bytes.length < below) out.write(0xa0 | bytes.length);
        else number(out, tag + power, 1 << power, bytes.length);
        out.writeBytes(bytes);
    }

    private static void head(ByteArrayOutputStream out, int small, int large, int size) {
        if (size < 16) out.write(small | size);
        else if (size < 65536) number(out, large, 2, size);
        else number(out, large + 1, 4, size);
    }

    // Reading

    /** Exactly one value. Throws ProtocolException. */
    public static Object unpack(byte[] bytes) {
        if (bytes.length > MAX_BODY) throw new ProtocolException("a value that is too large");
        ByteBuffer in = ByteBuffer.wrap(bytes);
        Object value = read(in, MAX_DEPTH);
        if (in.hasRemaining()) throw new ProtocolException("bytes behind a value");
        return value;
    }

    private static ByteBuffer need(ByteBuffer in, long size) {
        if (in.remaining() < size) throw new ProtocolException("a value that is cut short");
        return in;
    }

    private static long unsigned(ByteBuffer in, int width) {
        need(in, width);
        long value = 0;
        for (int at = 0; at < width; at++) value = value << 8 | in.get() & 0xff;
        return value;
    }

    private static Object read(ByteBuffer in, int depth) {
        int tag = (int) unsigned(in, 1);
        if (tag < 0x80) return (long) tag;
        if (tag < 0x90) return map(in, tag & 15, depth);
        if (tag < 0xa0) return array(in, tag & 15, depth);
        if (tag < 0xc0) return text(in, tag & 31);
        if (tag >= 0xe0) return (long) (byte) tag;
        switch (tag) {
            case 0xc0: return null;
            case 0xc2: case 0xc3: return tag == 0xc3;
            case 0xc4: case 0xc5: case 0xc6: return bytes(in, unsigned(in, 1 << tag - 0xc4));
            case 0xca: return (double) need(in, 4).getFloat();
            case 0xcb: return need(in, 8).getDouble();
            case 0xcc: case 0xcd: case 0xce: return unsigned(in, 1 << tag - 0xcc);
            case 0xcf: return large(unsigned(in, 8));
            case 0xd0: return (long) need(in, 1).get();
            case 0xd1: return (long) need(in, 2).getShort();
            case 0xd2: return (long) need(in, 4).getInt();
            case 0xd3: return need(in, 8).getLong();
            case 0xd9: case 0xda: case 0xdb: return text(in, unsigned(in, 1 << tag - 0xd9));
            case 0xdc: case 0xdd: return array(in, unsigned(in, 2 << tag - 0xdc), depth);
            case 0xde: case 0xdf: return map(in, unsigned(in, 2 << tag - 0xde), depth);
            default: throw new ProtocolException("an extension type");
        }
    }

    private static Object large(long bits) {
        return bits >= 0 ? (Object) bits : new BigInteger(Long.toUnsignedString(bits));
    }

    private static byte[] bytes(ByteBuffer in, long size) {
        byte[] found = new byte[(int) Math.min(size, need(in, size).remaining())];
        in.get(found);
        return found;
    }

    private static String text(ByteBuffer in, long size) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes(in, size))).toString();
        } catch (CharacterCodingException error) {
            throw new ProtocolException("text that is not UTF-8");
        }
    }

    private static List<Object> array(ByteBuffer in, long size, int depth) {
        check(in, size, depth);
        List<Object> found = new ArrayList<>((int) size);
        for (long at = 0; at < size; at++) found.add(read(in, depth - 1));
        return found;
    }

    private static Map<String, Object> map(ByteBuffer in, long size, int depth) {
        check(in, size, depth);
        Map<String, Object> found = new LinkedHashMap<>();
        for (long at = 0; at < size; at++) {
            if (!(read(in, 0) instanceof String key)) throw new ProtocolException("a map with a key that is no string");
            found.put(key, read(in, depth - 1));
        }
        return found;
    }

    private static void check(ByteBuffer in, long size, int depth) {
        if (depth == 0) throw new ProtocolException("nested deeper than " + MAX_DEPTH);
        need(in, size); // each element has at least a byte
    }
}
