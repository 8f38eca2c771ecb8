# frozen_string_literal: true

require 'msgpack'
require 'securerandom'

module Actord
  # What does not follow the protocol.
  class ProtocolError < StandardError; end

  # Messages to frames and back, as docs/protocol.md has it under "Frames" and "Values". Text is a String in UTF-8,
  # bytes are one in binary.
  module Wire
    SIGNATURE = 'ACTD1'
    MAX_MESSAGE = 64 << 20
    MAX_BODY = 16 << 20
    MAX_BUFFERS = 16
    MAX_DEPTH = 64
    MAX_NAME = 256
    TYPES = %w[HELLO WELCOME REQ NOTE PART FIN ERR CANCEL CREDIT SUB EVT PING PONG BYE].freeze
    KEYS = {
      't' => :text, 'id' => :bytes, 're' => :bytes, 'to' => :text, 'fr' => :text, 'inc' => :number, 'm' => :text,
      'dl' => :number, 'ik' => :text, 'sq' => :number, 'nr' => :number, 'cr' => :number, 'tr' => :text
    }.freeze

    # One message; `body` reads its body.
    Message = Struct.new(:header, :packed, :buffers) do
      def type = header['t']
      def body = Wire.unpack(packed)
    end

    module_function

    def new_id = SecureRandom.bytes(16)

    # Raises ProtocolError for what a router would refuse as malformed: it could not say whose message that was.
    def encode(header, body = {}, buffers = [])
      frames = [SIGNATURE, header.to_msgpack, body.to_msgpack, *buffers]
      decode(frames)
      frames
    end

    # Raises ProtocolError.
    def decode(frames)
      frames = frames.drop(1) if frames.first == ''
      raise ProtocolError, 'not a message of actord' if frames.size < 2 || frames[0] != SIGNATURE
      raise ProtocolError, 'too many buffers or bytes' if frames.size > 3 + MAX_BUFFERS || frames.sum(&:bytesize) > MAX_MESSAGE

      found = unpack(frames[1])
      raise ProtocolError, 'the header is not a map' unless found.is_a?(Hash)

      header = found.slice(*KEYS.keys)
      header.each { |key, value| check(key, value) }
      raise ProtocolError, 'a message of no known type' unless TYPES.include?(header['t'])

      Message.new(header, frames[2] || "\x80".b, frames.drop(3))
    end

    def check(key, value)
      raise ProtocolError, "header key #{key} has the wrong type" unless kind(value) == KEYS[key]

      fine = value.is_a?(Integer) ? value >= 0 : value.size <= MAX_NAME
      raise ProtocolError, "header key #{key} is out of bounds" unless fine
    end

    def kind(value)
      case value
      when Integer then :number
      when String then value.encoding == Encoding::BINARY ? :bytes : :text
      end
    end

    # Exactly one value. Raises ProtocolError.
    def unpack(bytes)
      raise ProtocolError, 'a value that is too large' if bytes.bytesize > MAX_BODY

      value = MessagePack.unpack(bytes)
      inspect_value(value, MAX_DEPTH)
      value
    rescue MessagePack::UnpackError, MessagePack::UnknownExtTypeError, EOFError => e
      raise ProtocolError, "not msgpack: #{e.message}"
    end

    def inspect_value(value, depth)
      case value
      when String
        raise ProtocolError, 'text that is not UTF-8' unless value.valid_encoding?
      when Array, Hash
        raise ProtocolError, 'nested too deep' if depth.zero?

        fine = !value.is_a?(Hash) || value.each_key.all? { |key| kind(key) == :text && key.valid_encoding? }
        raise ProtocolError, 'a map with a key that is no string' unless fine

        (value.is_a?(Hash) ? value.values : value).each { |inner| inspect_value(inner, depth - 1) }
      end
    end
  end
end
