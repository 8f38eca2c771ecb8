package actord;

import actord.Client.Ask;
import actord.Client.LostException;
import actord.Client.RequestException;
import actord.Wire.Message;
import actord.Wire.ProtocolException;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntSupplier;
import java.util.function.Predicate;

/** What every client shows that it can do (clients/README.md): `vectors`, `session FILE IMAGE`, `streams FILE`. */
public final class Session {
    private static final int WAITS = 5000; // more than a peer may have waiting
    private static final int ALLOWED = 4096;
    private static final int LINES = 60;
    private static final HexFormat HEX = HexFormat.of();
    private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));

    private final Client actord;
    private final String image;

    private Session(Client actord, String image) {
        this.actord = actord;
        this.image = image;
    }

    private static void say(String text) {
        System.out.println(text);
        System.out.flush();
    }

    // The vectors

    private static void vectors() throws IOException {
        for (String line = INPUT.readLine(); line != null; line = INPUT.readLine()) {
            List<byte[]> frames = new ArrayList<>();
            for (String word : line.isBlank() ? new String[0] : line.split(" ")) {
                frames.add(word.equals("-") ? new byte[0] : HEX.parseHex(word));
            }
            say(readMessage(frames));
        }
    }

    private static String readMessage(List<byte[]> frames) {
        String what = "message";
        try {
            Message message = Wire.decode(frames);
            what = "body";
            StringBuilder said = new StringBuilder("ok");
            for (byte[] frame : Wire.encode(message.header(), message.value(), message.buffers())) {
                said.append(' ').append(frame.length == 0 ? "-" : HEX.formatHex(frame));
            }
            return said.toString();
        } catch (ProtocolException error) {
            return "refused " + what;
        }
    }

    // The session

    private record Box(String id, String actor) {
        Ask ask() {
            return Ask.of(actor).repeatably();
        }
    }

    private record Output(byte[] out, byte[] err, Object exitCode) {
        String text() {
            return new String(out, StandardCharsets.UTF_8);
        }
    }

    private Box create(List<String> args, boolean stdin) {
        Map<String, ?> options = Map.of("args", args, "stdin", stdin);
        Map<String, ?> wish = Map.of("namespace", "default", "image", image, "options", options);
        Map<String, Object> made = actord.request("containers.create", wish, Ask.of("metadata"));
        Box box = new Box((String) made.get("id"), (String) made.get("actor"));
        actord.request("tasks.start", Map.of("run", 1), box.ask());
        return box;
    }

    /** Its actor goes with it, at times before its answer: asked again, nobody is there. */
    private void remove(Box box) {
        try {
            actord.request("containers.remove", Map.of("force", true), box.ask());
        } catch (RequestException error) {
            if (!error.code.equals("not_found")) throw error;
        }
    }

    /** The output until its end or until `enough` says so; goes on where it was after a break. */
    private Output output(Box box, String execId, Predicate<String> enough) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        Map<String, Object> last = actord.stream(
                "tasks.output", box.actor(), Client.CREDIT,
                () -> Map.of("stdout", out.size(), "stderr", err.size(), "follow", true, "exec_id", execId),
                part -> {
                    (Long.valueOf(1).equals(part.body().get("stream")) ? out : err).writeBytes(part.bytes());
                    return enough.test(out.toString(StandardCharsets.UTF_8));
                });
        return new Output(out.toByteArray(), err.toByteArray(), last == null ? null : last.get("exit_code"));
    }

    private void list() {
        Object actors = actord.request("introspection.actors", Map.of(), Ask.of("supervisor")).get("actors");
        for (Object one : (List<?>) actors) {
            if ("metadata".equals(((Map<?, ?>) one).get("name"))) say("list: metadata is there");
        }
        try {
            actord.request("containers.get", Map.of("namespace", "default", "id", "nobody"), Ask.of("metadata"));
        } catch (RequestException error) {
            say("error: " + error.code);
        }
        try {
            actord.request("containers.get", Map.of(), Ask.of("x".repeat(300)));
        } catch (ProtocolException error) {
            say("malformed: not sent");
        }
    }

    private void pull() {
        Map<String, ?> wish = Map.of("namespace", "default", "reference", image);
        Map<String, Object> pull = actord.request("images.pull", wish, Ask.of("supervisor").repeatably());
        int[] seen = {0};
        Map<String, Object> pulled = actord.stream(
                "transfers.attach", (String) pull.get("actor"), Client.CREDIT, Map::of, part -> ++seen[0] < 0);
        say("pull: " + (seen[0] > 0 ? "progress, then " : "") + pulled.get("name"));
    }

    private void run() {
        Box box = create(List.of("sh", "-c", "tr a-z A-Z; echo done >&2; exit 7"), true);
        byte[] input = ("hello\n" + "x".repeat(199_994)).getBytes(StandardCharsets.UTF_8);
        for (int at = 0; at < input.length; at += Client.PIECE) {
            byte[] piece = Arrays.copyOfRange(input, at, Math.min(input.length, at + Client.PIECE));
            actord.request("tasks.input", Map.of("writer", box.id(), "offset", at), box.ask().with(piece));
        }
        actord.request("tasks.close_io", Map.of(), box.ask());
        Output found = output(box, "", text -> false);
        boolean right = found.text().equals(new String(input, StandardCharsets.UTF_8).toUpperCase());
        say("run: " + (right ? found.out().length : "wrong") + " bytes out, " + found.err().length
                + " bytes err, exit " + found.exitCode());
        remove(box);
    }

    private void exec(Box box) {
        actord.request("tasks.exec", Map.of("exec_id", "one", "args", List.of("echo", "from exec")), box.ask());
        Output found = output(box, "one", text -> false);
        say("exec: " + found.text().strip() + ", exit " + found.exitCode());
    }

    /** So many topics behind event number `last[0]`, which moves on with them. */
    private String topics(String containerId, Object[] last, int wanted) {
        List<String> topics = new ArrayList<>();
        actord.stream(
                "events.subscribe", "events", 16,
                () -> Map.of("container_id", containerId, "after", last[0], "follow", true),
                event -> {
                    last[0] = event.header().get("sq");
                    topics.add((String) event.body().get("topic"));
                    return topics.size() == wanted;
                });
        return String.join(" ", topics);
    }

    private void events(Box box) {
        Object[] last = {0};
        String first = topics(box.id(), last, 1);
        say("events: " + first + ", resumed: " + topics(box.id(), last, 2));
    }

    /** Many waits under way, and what has become of them. */
    private final class Waits {
        final Set<ByteBuffer> open = new LinkedHashSet<>();
        int answered;
        int refused;
        int cancelled;
        int exited;

        void begin(Box box) throws LostException {
            byte[] id = Client.newId();
            open.add(ByteBuffer.wrap(id));
            Map<String, ?> header = Map.of("t", "REQ", "id", id, "to", box.actor(), "m", "tasks.wait", "dl", 600_000);
            actord.send(header, Map.of(), List.of());
        }

        /** Until there are so many of what is counted, or a second has brought nothing. */
        void countUntil(IntSupplier count, int wanted) throws LostException {
            while (count.getAsInt() < wanted) {
                Message message = actord.receive(1000);
                if (message == null) return;
                if (message.header().get("re") instanceof byte[] re && open.remove(ByteBuffer.wrap(re))) {
                    count(message.body());
                }
            }
        }

        private void count(Map<String, Object> body) {
            answered++;
            if ("overloaded".equals(body.get("code"))) refused++;
            if ("unavailable".equals(body.get("code"))) cancelled++;
            if (Long.valueOf(137).equals(body.get("exit_code"))) exited++;
        }
    }

    /** More waits than are allowed; room made by cancelling; then a request that is tried until it passes. */
    private void overload(Box box) throws LostException {
        Waits waits = new Waits();
        for (int at = 0; at < WAITS; at++) waits.begin(box);
        waits.countUntil(() -> waits.refused, WAITS - ALLOWED);
        for (ByteBuffer id : List.copyOf(waits.open)) { // the first ones were let in
            if (waits.cancelled > 0) break;
            actord.send(Map.of("t", "CANCEL", "re", id.array()), Map.of(), List.of());
            waits.countUntil(() -> waits.cancelled, 1);
        }
        for (int tries = 0; tries < 100 && waits.exited == 0; tries++) {
            byte[] id = Client.newId();
            Map<String, ?> header = Map.of("t", "REQ", "id", id, "to", box.actor(), "m", "tasks.kill", "dl", 30_000);
            actord.send(header, Map.of("signal", 9), List.of());
            waits.countUntil(() -> waits.exited, 1);
        }
        waits.countUntil(() -> waits.answered, WAITS);
        boolean all = waits.refused > 0 && waits.cancelled > 0 && waits.exited > 0;
        say("overload: " + waits.answered + " answered, " + (all ? "refused, cancelled and done" : "?"));
    }

    private void reconnect() {
        Box box = create(List.of("sh", "-c", "i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.02; done"), false);
        String[] told = {null};
        String text = output(box, "", out -> {
            if (told[0] == null) {
                say("kill the router");
                told[0] = readLine();
            }
            return actord.reconnections() > 0 && out.chars().filter(one -> one == '\n').count() >= LINES;
        }).text();
        String[] lines = text.substring(0, text.lastIndexOf('\n')).split("\n");
        boolean right = "killed".equals(told[0]);
        for (int at = 0; at < lines.length; at++) right &= lines[at].equals("line " + at);
        say("reconnected: " + (right ? "every line, once" : text));
        remove(box);
    }

    private static String readLine() {
        try {
            return INPUT.readLine();
        } catch (IOException error) {
            return "";
        }
    }

    private void session() throws LostException {
        say("connected, protocol " + actord.welcome().get("protocol"));
        list();
        pull();
        run();
        Box box = create(List.of("sleep", "1000"), false);
        exec(box);
        events(box);
        overload(box);
        remove(box);
        reconnect();
        say("bye");
    }

    /** Streams of which something is missing: whoever drives this leaves out messages, and says some twice. */
    private void streams() {
        Output found = output(create(List.of(), false), "", text -> false);
        say("output: " + found.text() + ", exit " + found.exitCode());
        say("events: " + topics("", new Object[] {0}, 4));
    }

    private static void connected(String file, String image) throws LostException {
        try (Client actord = new Client(file)) {
            Session session = new Session(actord, image);
            if (image.isEmpty()) session.streams();
            else session.session();
        } catch (Client.ConnectException | RequestException error) {
            System.err.println(error.getMessage());
            System.exit(1);
        }
    }

    public static void main(String[] words) throws Exception {
        String mode = words.length > 0 ? words[0] : "";
        if (words.length == 1 && mode.equals("vectors")) vectors();
        else if (words.length == 3 && mode.equals("session")) connected(words[1], words[2]);
        else if (words.length == 2 && mode.equals("streams")) connected(words[1], "");
        else {
            System.err.println("Session vectors | Session session FILE IMAGE | Session streams FILE");
            System.exit(2);
        }
    }
}
