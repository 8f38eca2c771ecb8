# frozen_string_literal: true

require 'ffi-rzmq'
require 'json'
require_relative 'wire'

# A client of actord. One connection, one thread; see README.md.
module Actord
  # A request ended without a result: code, text, outcome, and whether a living actor said so (`final`).
  class RequestError < StandardError
    attr_reader :code, :outcome, :retryable, :final, :details

    def initialize(code, text, outcome: 'unknown', retryable: code == 'unavailable', final: false, details: {})
      super(text)
      @code, @outcome, @retryable, @final, @details = code, outcome, retryable, final, details
    end
  end

  # No connection: nobody answers there, the key is not known, or the connection file is none.
  class ConnectError < StandardError; end

  # The connection broke.
  class LostError < StandardError; end

  # One connection, until it breaks: a ZeroMQ socket, and its monitor.
  class Link
    SHAKE_HANDS = 5
    # By the numbers of zmq.h, since the binding does not know all of them.
    OPTIONS = {
      17 => 0,                                  # LINGER
      18 => -1,                                 # RECONNECT_IVL: who has lost a connection must know it
      23 => 10_000, 24 => 10_000, 39 => 1,      # SNDHWM, RCVHWM, IMMEDIATE
      34 => 1, 35 => 3, 36 => 1, 37 => 1, 80 => 3000, # TCP_KEEPALIVE, _CNT, _IDLE, _INTVL, TCP_MAXRT
      42 => 1, 66 => 4000                       # IPV6, HANDSHAKE_IVL
    }.freeze
    KEYS = { 50 => 'server', 48 => 'public', 49 => 'secret' }.freeze # CURVE_SERVERKEY, _PUBLICKEY, _SECRETKEY
    SUCCEEDED = 0x1000
    REFUSED = [0x2000, 0x4000].freeze           # HANDSHAKE_FAILED_PROTOCOL, _AUTH
    OVER = [0x0004, 0x0080, 0x0200, 0x0800].freeze # CONNECT_RETRIED, CLOSED, DISCONNECTED, HANDSHAKE_FAILED
    CONTEXT = ZMQ::Context.new

    attr_reader :welcome

    def initialize(path)
      @address = read(path)
      @socket = CONTEXT.socket(ZMQ::DEALER)
      @monitor = CONTEXT.socket(ZMQ::PAIR)
      @poller = ZMQ::Poller.new
      [@socket, @monitor].each { |one| @poller.register_readable(one) }
      connect
      shake_hands
      greet
    rescue ConnectError
      close
      raise
    end

    def send(header, body = {}, buffers = [])
      frames = Wire.encode(header, body, buffers)
      raise LostError, 'the connection broke' if @socket.send_strings(frames, ZMQ::DONTWAIT).negative?
    end

    # The next message within so many seconds, nil for none. Raises LostError.
    def receive(seconds)
      limit = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
      loop do
        left = limit - Process.clock_gettime(Process::CLOCK_MONOTONIC)
        return nil if @poller.poll([(left * 1000).ceil, 0].max).zero? && left <= 0

        if @poller.readables.include?(@socket) # what had come before the end still counts
          frames = []
          @socket.recv_strings(frames)
          message = read_message(frames)
          return message if message
        elsif @poller.readables.include?(@monitor) && OVER.include?(event)
          raise LostError, 'the connection broke'
        end
      end
    end

    # As `receive`, and passes over what does not concern `id`.
    def about(id, seconds)
      limit = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
      while (message = receive(limit - Process.clock_gettime(Process::CLOCK_MONOTONIC)))
        return message if message.header['re'] == id
      end
    end

    def close
      @socket&.close
      @monitor&.close
    end

    private

    def read(path)
      found = JSON.parse(File.read(path))
      endpoint = found['endpoint'] || found['endpoints'].first
      { 'endpoint' => endpoint, **found.slice('server', 'public', 'secret') }
    rescue SystemCallError => e
      raise ConnectError, "cannot read #{path}: #{e.message}; is actord running on this host?"
    rescue JSON::ParserError, NoMethodError, TypeError
      raise ConnectError, "#{path} is no connection file: actr keys new makes one"
    end

    def connect
      name = "inproc://actord-monitor-#{object_id}"
      OPTIONS.each { |option, value| set(option, [value].pack('i')) }
      KEYS.each { |option, key| set(option, @address[key]) } if @address['server']
      LibZMQ.zmq_socket_monitor(@socket.socket, name, 0xffff)
      @monitor.connect(name)
      refused = @socket.connect(@address['endpoint']).negative?
      raise ConnectError, "cannot connect to #{@address['endpoint']}: #{ZMQ::Util.error_string}" if refused
    end

    def set(option, bytes)
      memory = FFI::MemoryPointer.from_string(bytes)
      return unless LibZMQ.zmq_setsockopt(@socket.socket, option, memory, bytes.bytesize).negative?

      raise ConnectError, "option #{option} of ZeroMQ: #{ZMQ::Util.error_string}"
    end

    def shake_hands
      poller = ZMQ::Poller.new
      poller.register_readable(@monitor)
      limit = Process.clock_gettime(Process::CLOCK_MONOTONIC) + SHAKE_HANDS
      while Process.clock_gettime(Process::CLOCK_MONOTONIC) < limit
        next unless poller.poll(100).positive?

        found = event
        return if found == SUCCEEDED
        raise ConnectError, "the daemon at #{@address['endpoint']} does not know this key: actr keys allow, there" if REFUSED.include?(found)
        break if OVER.include?(found)
      end
      raise ConnectError, "nobody answers at #{@address['endpoint']}, or it has another key"
    end

    def event
      frames = []
      @monitor.recv_strings(frames)
      frames.first.unpack1('S')
    end

    def greet
      id = Wire.new_id
      send({ 't' => 'HELLO', 'id' => id }, { 'minor' => 0, 'features' => [] })
      message = about(id, SHAKE_HANDS)
      raise ConnectError, "what answers at #{@address['endpoint']} is not actord" unless message&.type == 'WELCOME'

      @welcome = message.body
    rescue LostError
      raise ConnectError, "nobody answers at #{@address['endpoint']}"
    end

    def read_message(frames)
      Wire.decode(frames)
    rescue ProtocolError # what was asked has its deadline
      nil
    end
  end

  # A connection that renews itself.
  class Client
    PATIENCE = 10 # seconds
    RETRY = 0.05
    LATE = 1
    CREDIT = 1 << 20
    PIECE = 65_536
    PARENT = /\A(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\z/ # W3C Trace Context

    attr_reader :reconnections, :link
    # What requests belong to: a trace id or a `traceparent`, from the environment if there is one.
    attr_accessor :trace

    def initialize(path = '/run/actord/connection.json')
      @path = path
      @reconnections = 0
      @trace = ENV.fetch('TRACEPARENT', '')[PARENT] || SecureRandom.hex(16)
      @link = Link.new(path)
    end

    def close = @link.close

    # Asks actor `to`. What has not begun is tried again until `limit` (seconds); what may have happened only if it is
    # `repeatable`. Raises RequestError, ConnectError.
    def request(op, body = {}, to:, limit: 30, repeatable: false, buffers: [])
      deadline = now + limit
      begin
        ask(op, body, to, deadline, buffers)
      rescue RequestError => e
        safe = e.outcome == 'not_started' || (repeatable && e.outcome != 'done')
        raise unless e.retryable && safe && now + RETRY < deadline

        sleep RETRY
        retry
      end
    end

    # Asks for a stream and yields each message; `body` is called for the body of each attempt, and says where to go on
    # after a break, or when an answer was lost on the way. Leaving the block with `break` cancels. Gives the final answer.
    def stream(op, to:, credit: CREDIT, body: -> { {} }, &each)
      since = [now]
      begin
        follow(op, to, credit, body.call, since, &each)
      rescue RequestError => e
        over = e.final && e.code != 'overloaded'
        raise if over || !e.retryable || now - since[0] > PATIENCE

        sleep RETRY
        retry
      end
    end

    private

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

    def ask(op, body, to, deadline, buffers)
      id = Wire.new_id
      sent = false
      left = [deadline - now, 0.001].max
      header = { 't' => 'REQ', 'id' => id, 'to' => to, 'm' => op, 'dl' => (left * 1000).ceil, 'tr' => @trace }
      @link.send(header, body, buffers)
      sent = true
      message = @link.about(id, left + LATE)
      raise RequestError.new('deadline_exceeded', "#{op}: no answer from #{to}") unless message

      result(message)
    rescue LostError
      lost(op, sent)
    end

    def follow(op, to, credit, body, since)
      id = Wire.new_id
      open = sent = false
      used = heard = 0
      @link.send({ 't' => 'REQ', 'id' => id, 'to' => to, 'm' => op, 'cr' => credit, 'tr' => @trace }, body)
      open = sent = true
      loop do
        message = @link.about(id, 3600) or next
        number = message.header.fetch('nr', heard += 1)
        raise RequestError.new('unavailable', "#{op}: an answer was lost on the way") if number != heard

        unless %w[PART EVT].include?(message.type)
          open = false
          return result(message)
        end
        since[0] = now
        yield message
        used += message.type == 'EVT' ? 1 : message.buffers.sum(&:bytesize)
        next if used * 2 < credit

        @link.send({ 't' => 'CREDIT', 're' => id, 'cr' => used })
        used = 0
      end
    rescue LostError
      open = false
      lost(op, sent)
    ensure
      cancel(id) if open
    end

    def cancel(id)
      @link.send({ 't' => 'CANCEL', 're' => id })
    rescue LostError # then nobody is left to be told
      nil
    end

    def result(message)
      body = message.body
      return body unless message.type == 'ERR'

      raise RequestError.new(
        body['code'], body['msg'], outcome: body['outcome'], retryable: body['retryable'],
                                   final: message.header.key?('fr'), details: body['details']
      )
    end

    # Renews the connection, and says what has become of the request.
    def lost(op, sent)
      limit = now + PATIENCE
      begin
        @link.close
        @link = Link.new(@path)
      rescue ConnectError
        raise if now > limit

        sleep RETRY
        retry
      end
      @reconnections += 1
      outcome = sent ? 'unknown' : 'not_started'
      raise RequestError.new('unavailable', "#{op}: the connection broke before the answer", outcome:)
    end
  end
end
