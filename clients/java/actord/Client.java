package actord;

import actord.Wire.Message;
import actord.Wire.ProtocolException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A connection to actord that renews itself. One thread. Times are milliseconds. See README.md. */
public final class Client implements AutoCloseable {
    public static final String CONNECTION = "/run/actord/connection.json";
    public static final int CREDIT = 1 << 20;
    public static final int PIECE = 65536; // bytes of standard input in one request
    private static final long PATIENCE = 10_000;
    private static final long RETRY = 50;
    private static final long LATE = 1000;
    private static final long SHAKE_HANDS = 5000;
    private static final int QUEUE = 10_000;
    private static final Map<Integer, Integer> OPTIONS = Map.ofEntries(
            Map.entry(17, 0), // LINGER
            Map.entry(18, -1), // RECONNECT_IVL: who has lost a connection must know it: what was asked is lost too
            Map.entry(23, QUEUE), Map.entry(24, QUEUE), Map.entry(39, 1), // SNDHWM, RCVHWM, IMMEDIATE
            Map.entry(34, 1), Map.entry(35, 3), Map.entry(36, 1), Map.entry(37, 1), // TCP_KEEPALIVE, CNT, IDLE, INTVL
            Map.entry(80, 3000), Map.entry(42, 1), Map.entry(66, 4000)); // TCP_MAXRT, IPV6, HANDSHAKE_IVL
    private static final int ALL_EVENTS = 0xffff;
    private static final int HANDSHAKE_SUCCEEDED = 0x1000;
    private static final Set<Integer> REFUSED = Set.of(0x2000, 0x4000); // HANDSHAKE_FAILED_PROTOCOL, _AUTH
    // CONNECT_RETRIED, CLOSED, DISCONNECTED, HANDSHAKE_FAILED_NO_DETAIL
    private static final Set<Integer> OVER = Set.of(0x0004, 0x0080, 0x0200, 0x0800);
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final Pattern PARENT = Pattern.compile( // W3C Trace Context
            "(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}");

    private final Path path;
    private final Zmq context = new Zmq();
    private Zmq.Socket socket;
    private Zmq.Socket monitor;
    private Map<String, Object> welcome = Map.of();
    private String trace = System.getenv().getOrDefault("TRACEPARENT", "");
    private int reconnections = -1;
    private int opened;

    /** No connection: nobody answers there, the key is not known, or the connection file is none. */
    public static final class ConnectException extends RuntimeException {
        ConnectException(String text) {
            super(text);
        }
    }

    /** A request ended without a result; `isFinal` when a living actor said so. */
    public static final class RequestException extends RuntimeException {
        public final String code;
        public final String outcome;
        public final boolean retryable;
        public final boolean isFinal;

        RequestException(String code, String text, String outcome, boolean retryable, boolean isFinal) {
            super(text);
            this.code = code;
            this.outcome = outcome;
            this.retryable = retryable;
            this.isFinal = isFinal;
        }
    }

    /** The connection broke. */
    public static final class LostException extends Exception {}

    /** Connects to the daemon that a connection file names. Throws ConnectException. */
    public Client(String path) {
        this.path = Path.of(path);
        if (!PARENT.matcher(trace).matches()) trace = HexFormat.of().formatHex(newId());
        try {
            open();
        } catch (RuntimeException error) {
            context.close();
            throw error;
        }
    }

    /** What the router said of itself. */
    public Map<String, Object> welcome() {
        return welcome;
    }

    /** How often the connection has been renewed. */
    public int reconnections() {
        return reconnections;
    }

    /** What requests belong to: a trace id or a `traceparent`; that of the environment if it is one, else a new id. */
    public String trace() {
        return trace;
    }

    public void trace(String trace) {
        this.trace = trace;
    }

    @Override
    public void close() {
        hangUp();
        context.close();
    }

    /** How a request is made; made with `Ask.of(actor)` and what follows it. */
    public record Ask(String to, long limit, boolean repeatable, List<byte[]> buffers) {
        public static Ask of(String to) {
            return new Ask(to, 30_000, false, List.of());
        }

        /** What may have happened may be repeated. */
        public Ask repeatably() {
            return new Ask(to, limit, true, buffers);
        }

        public Ask with(byte[] buffer) {
            return new Ask(to, limit, repeatable, List.of(buffer));
        }
    }

    /** What has not begun is tried again until the limit. Throws RequestException, ConnectException. */
    public Map<String, Object> request(String op, Map<String, ?> body, Ask ask) {
        long until = now() + ask.limit();
        while (true) {
            try {
                return askOnce(op, body, ask, until);
            } catch (RequestException error) {
                boolean safe = error.outcome.equals("not_started") || ask.repeatable() && !error.outcome.equals("done");
                if (!error.retryable || !safe || now() + RETRY > until) throw error;
            }
            rest();
        }
    }

    /**
     * A stream: `part` gets each message and ends the stream by saying true; `body` is asked for the body of each
     * attempt, and says where to go on after a break, or when an answer was lost on the way. Gives the final answer,
     * null when `part` ended it.
     */
    public Map<String, Object> stream(
            String op, String to, long credit, Supplier<Map<String, ?>> body, Predicate<Message> part) {
        long[] since = {now()};
        while (true) {
            try {
                return follow(op, to, credit, body.get(), part, since);
            } catch (RequestException error) {
                boolean over = error.isFinal && !error.code.equals("overloaded");
                if (over || !error.retryable || now() - since[0] > PATIENCE) throw error;
            }
            rest();
        }
    }

    // For programs with many requests under way

    public static byte[] newId() {
        byte[] id = new byte[16];
        RANDOM.nextBytes(id);
        return id;
    }

    public void send(Map<String, ?> header, Map<String, ?> body, List<byte[]> buffers) throws LostException {
        if (socket == null) throw new LostException();
        if (!socket.send(Wire.encode(header, body, buffers))) throw new LostException();
    }

    /** The next message within so long, null for none. */
    public Message receive(long wait) throws LostException {
        long until = now() + wait;
        while (socket != null) {
            long left = Math.max(0, until - now());
            int ready = Zmq.poll(socket, monitor, left);
            if (ready == 0 && left == 0) return null;
            if ((ready & 1) != 0) { // what had come before the end still counts
                Message message = readMessage();
                if (message != null) return message;
            } else if (ready != 0 && OVER.contains(event())) {
                throw new LostException();
            }
        }
        throw new LostException();
    }

    private Message readMessage() {
        try {
            return Wire.decode(socket.receive());
        } catch (ProtocolException error) { // what was asked has its deadline
            return null;
        }
    }

    // One attempt

    private Map<String, Object> askOnce(String op, Map<String, ?> body, Ask ask, long until) {
        byte[] id = newId();
        boolean sent = false;
        long left = Math.max(1, until - now());
        try {
            Map<String, ?> header = Map.of("t", "REQ", "id", id, "to", ask.to(), "m", op, "dl", left, "tr", trace);
            send(header, body, ask.buffers());
            sent = true;
            Message message = about(id, left + LATE);
            if (message != null) return result(message);
        } catch (LostException error) {
            throw lost(op, sent);
        }
        throw new RequestException("deadline_exceeded", op + ": no answer from " + ask.to(), "unknown", false, false);
    }

    private Map<String, Object> follow(
            String op, String to, long credit, Map<String, ?> body, Predicate<Message> part, long[] since) {
        byte[] id = newId();
        boolean sent = false;
        long used = 0;
        long heard = 0;
        try {
            send(Map.of("t", "REQ", "id", id, "to", to, "m", op, "cr", credit, "tr", trace), body, List.of());
            sent = true;
            while (true) {
                Message message = about(id, Integer.MAX_VALUE);
                if (message == null) continue;
                if (!message.header().getOrDefault("nr", ++heard).equals(heard)) {
                    send(Map.of("t", "CANCEL", "re", id), Map.of(), List.of());
                    String text = op + ": an answer was lost on the way";
                    throw new RequestException("unavailable", text, "unknown", true, false);
                }
                if (!Set.of("PART", "EVT").contains(message.type())) return result(message);
                since[0] = now();
                if (part.test(message)) {
                    send(Map.of("t", "CANCEL", "re", id), Map.of(), List.of());
                    return null;
                }
                used += message.type().equals("EVT") ? 1 : message.bytes().length;
                if (used * 2 >= credit) {
                    send(Map.of("t", "CREDIT", "re", id, "cr", used), Map.of(), List.of());
                    used = 0;
                }
            }
        } catch (LostException error) {
            throw lost(op, sent);
        }
    }

    private Message about(byte[] id, long wait) throws LostException {
        long until = now() + wait;
        while (true) {
            Message message = receive(Math.max(0, until - now()));
            if (message == null || message.concerns(id)) return message;
        }
    }

    private static Map<String, Object> result(Message message) {
        Map<String, Object> body = message.body();
        if (!message.type().equals("ERR")) return body;
        String code = String.valueOf(body.get("code"));
        String outcome = String.valueOf(body.get("outcome"));
        boolean retryable = Boolean.TRUE.equals(body.get("retryable"));
        throw new RequestException(
                code, String.valueOf(body.get("msg")), outcome, retryable, message.header().containsKey("fr"));
    }

    /** Renews the connection, and says what has become of the request. */
    private RequestException lost(String op, boolean sent) {
        long until = now() + PATIENCE;
        while (true) {
            try {
                open();
                String outcome = sent ? "unknown" : "not_started";
                return new RequestException(
                        "unavailable", op + ": the connection broke before the answer", outcome, true, false);
            } catch (ConnectException error) {
                if (now() > until) throw error;
            }
            rest();
        }
    }

    // The connection

    private void open() {
        hangUp();
        Map<String, String> address = readAddress();
        try {
            dial(address);
            shakeHands(address.get("endpoint"));
            greet(address.get("endpoint"));
        } catch (ConnectException error) {
            hangUp();
            throw error;
        } catch (IllegalStateException error) {
            hangUp();
            throw new ConnectException("cannot connect to " + address.get("endpoint") + ": " + error.getMessage());
        }
        reconnections++;
    }

    private void hangUp() {
        if (socket == null) return;
        socket.monitor(null, 0);
        socket.close();
        monitor.close();
        socket = null;
    }

    /** The texts of the connection file: flat, and without escapes. */
    private Map<String, String> readAddress() {
        String json;
        try {
            json = Files.readString(path);
        } catch (IOException error) {
            String why = error instanceof NoSuchFileException ? "no such file" : error.getMessage();
            throw new ConnectException("cannot read " + path + ": " + why + "; is actord running on this host?");
        }
        Map<String, String> found = new HashMap<>();
        Matcher pair = Pattern.compile("\"(\\w+)\"\\s*:\\s*\\[?\\s*\"([^\"\\\\]*)\"").matcher(json);
        while (pair.find()) found.putIfAbsent(pair.group(1).replace("endpoints", "endpoint"), pair.group(2));
        if (!found.containsKey("endpoint")) {
            throw new ConnectException(path + " is no connection file: actr keys new makes one");
        }
        return found;
    }

    private void dial(Map<String, String> address) {
        String name = "inproc://actord-monitor-" + ++opened;
        socket = context.socket(Zmq.DEALER);
        monitor = context.socket(Zmq.PAIR);
        OPTIONS.forEach(socket::set);
        if (address.containsKey("server")) {
            socket.set(50, address.get("server")); // CURVE_SERVERKEY, _PUBLICKEY, _SECRETKEY
            socket.set(48, address.get("public"));
            socket.set(49, address.get("secret"));
        }
        socket.monitor(name, ALL_EVENTS);
        monitor.connect(name);
        socket.connect(address.get("endpoint"));
    }

    private void shakeHands(String endpoint) {
        long until = now() + SHAKE_HANDS;
        while (now() < until) {
            if ((Zmq.poll(socket, monitor, 100) & 2) == 0) continue;
            int event = event();
            if (event == HANDSHAKE_SUCCEEDED) return;
            if (REFUSED.contains(event)) {
                throw new ConnectException("the daemon at " + endpoint + " does not know this key: actr keys allow, there");
            }
            if (OVER.contains(event)) break;
        }
        throw new ConnectException("nobody answers at " + endpoint + ", or it has another key");
    }

    private int event() {
        byte[] first = monitor.receive().get(0); // the other frame is the address
        return ByteBuffer.wrap(first).order(ByteOrder.nativeOrder()).getShort() & 0xffff;
    }

    private void greet(String endpoint) {
        byte[] id = newId();
        try {
            send(Map.of("t", "HELLO", "id", id), Map.of("minor", 0, "features", List.of()), List.of());
            Message message = about(id, SHAKE_HANDS);
            if (message != null && message.type().equals("WELCOME")) {
                welcome = message.body();
                return;
            }
        } catch (LostException error) {
            throw new ConnectException("nobody answers at " + endpoint);
        }
        throw new ConnectException("what answers at " + endpoint + " is not actord");
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }

    private static void rest() {
        try {
            Thread.sleep(RETRY);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}
