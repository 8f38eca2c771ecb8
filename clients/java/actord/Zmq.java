package actord;

import com.sun.jna.Library;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.NativeLong;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * As much of libzmq as a client needs, by JNA: Debian's own binding knows neither CURVE nor the limits of TCP.
 * Not thread-safe.
 */
final class Zmq {
    static final int DEALER = 5;
    static final int PAIR = 0;
    private static final int DONTWAIT = 1;
    private static final int SNDMORE = 2;
    private static final short POLLIN = 1;
    private static final int POLL_ITEM = 16; // bytes: socket, descriptor, events, what has come
    private static final int MESSAGE = 64; // bytes of a zmq_msg_t
    private static final Lib LIB = Native.load("zmq", Lib.class);

    interface Lib extends Library {
        Pointer zmq_ctx_new();

        int zmq_ctx_term(Pointer context);

        Pointer zmq_socket(Pointer context, int type);

        int zmq_close(Pointer socket);

        int zmq_setsockopt(Pointer socket, int option, byte[] value, NativeLong size);

        int zmq_connect(Pointer socket, String endpoint);

        int zmq_socket_monitor(Pointer socket, String endpoint, int events);

        int zmq_send(Pointer socket, byte[] bytes, NativeLong size, int flags);

        int zmq_msg_init(Pointer message);

        int zmq_msg_recv(Pointer message, Pointer socket, int flags);

        Pointer zmq_msg_data(Pointer message);

        NativeLong zmq_msg_size(Pointer message);

        int zmq_msg_more(Pointer message);

        int zmq_msg_close(Pointer message);

        int zmq_poll(Pointer items, int count, NativeLong timeout);

        int zmq_errno();

        String zmq_strerror(int number);
    }

    private final Pointer context = LIB.zmq_ctx_new();

    Socket socket(int type) {
        return new Socket(LIB.zmq_socket(context, type));
    }

    /** When all sockets are closed. */
    void close() {
        LIB.zmq_ctx_term(context);
    }

    /** Which of two sockets has something, waiting so many milliseconds: bit 0 and bit 1. */
    static int poll(Socket first, Socket second, long wait) {
        try (Memory items = new Memory(2 * POLL_ITEM)) {
            items.clear();
            items.setPointer(0, first.socket);
            items.setShort(12, POLLIN);
            items.setPointer(POLL_ITEM, second.socket);
            items.setShort(POLL_ITEM + 12, POLLIN);
            LIB.zmq_poll(items, 2, new NativeLong(wait));
            return items.getShort(14) & POLLIN | (items.getShort(POLL_ITEM + 14) & POLLIN) << 1;
        }
    }

    /** One socket. */
    static final class Socket {
        private final Pointer socket;

        private Socket(Pointer socket) {
            this.socket = socket;
        }

        void set(int option, int value) {
            set(option, ByteBuffer.allocate(4).order(ByteOrder.nativeOrder()).putInt(value).array());
        }

        void set(int option, String value) {
            set(option, value.getBytes(StandardCharsets.US_ASCII));
        }

        private void set(int option, byte[] value) {
            check(LIB.zmq_setsockopt(socket, option, value, new NativeLong(value.length)));
        }

        void connect(String endpoint) {
            check(LIB.zmq_connect(socket, endpoint));
        }

        void monitor(String endpoint, int events) {
            check(LIB.zmq_socket_monitor(socket, endpoint, events));
        }

        /** Whether there was room for it. */
        boolean send(List<byte[]> frames) {
            for (int at = 0; at < frames.size(); at++) {
                byte[] frame = frames.get(at);
                int flags = at + 1 < frames.size() ? DONTWAIT | SNDMORE : DONTWAIT;
                if (LIB.zmq_send(socket, frame, new NativeLong(frame.length), flags) < 0) return false;
            }
            return true;
        }

        /** A whole message, when there is one. */
        List<byte[]> receive() {
            List<byte[]> frames = new ArrayList<>();
            boolean more = true;
            try (Memory message = new Memory(MESSAGE)) {
                while (more) {
                    LIB.zmq_msg_init(message);
                    check(LIB.zmq_msg_recv(message, socket, 0));
                    int size = LIB.zmq_msg_size(message).intValue();
                    frames.add(size == 0 ? new byte[0] : LIB.zmq_msg_data(message).getByteArray(0, size));
                    more = LIB.zmq_msg_more(message) != 0;
                    LIB.zmq_msg_close(message);
                }
            }
            return frames;
        }

        void close() {
            LIB.zmq_close(socket);
        }

        private static void check(int result) {
            if (result < 0) throw new IllegalStateException(LIB.zmq_strerror(LIB.zmq_errno()));
        }
    }
}
