#!/usr/bin/ruby
# frozen_string_literal: true

# What every client shows that it can do (clients/README.md).
#
#     session.rb vectors | session FILE IMAGE | streams FILE
require_relative 'actord'

INPUT = "hello\n#{'x' * 199_994}".freeze
WAITS = 5000 # more than a peer may have waiting
ALLOWED = 4096
LINES = 60
$stdout.sync = true

def vectors
  $stdin.each_line do |line|
    frames = line.split.map { |word| word == '-' ? ''.b : [word].pack('H*') }
    puts read_message(frames)
  end
end

def read_message(frames)
  what = 'message'
  message = Actord::Wire.decode(frames)
  what = 'body'
  again = Actord::Wire.encode(message.header, message.body, message.buffers)
  ['ok', *again.map { |frame| frame.empty? ? '-' : frame.unpack1('H*') }].join(' ')
rescue Actord::ProtocolError
  "refused #{what}"
end

# A container, and what is done with it.
class Box
  attr_reader :id, :actor

  def initialize(actord, image, args, **options)
    @actord = actord
    wish = { 'namespace' => 'default', 'image' => image, 'options' => { 'args' => args, **options } }
    made = actord.request('containers.create', wish, to: 'metadata')
    @id, @actor = made.values_at('id', 'actor')
    ask('tasks.start', { 'run' => 1 })
  end

  def ask(op, body = {}, **how) = @actord.request(op, body, to: @actor, repeatable: true, **how)

  def write(text)
    (0...text.bytesize).step(Actord::Client::PIECE) do |at|
      ask('tasks.input', { 'writer' => @id, 'offset' => at }, buffers: [text.byteslice(at, Actord::Client::PIECE)])
    end
    ask('tasks.close_io')
  end

  # Yields standard output so far, after each piece, and goes on where it was after a break. Gives both, and the exit code.
  def output(exec_id: '')
    texts = { 1 => +''.b, 2 => +''.b }
    body = -> { { 'stdout' => texts[1].size, 'stderr' => texts[2].size, 'follow' => true, 'exec_id' => exec_id } }
    final = @actord.stream('tasks.output', to: @actor, body:) do |part|
      texts[part.body['stream']] << part.buffers.join
      yield texts[1] if block_given?
    end
    [texts[1], texts[2], final['exit_code']]
  end

  # Its actor goes with it, at times before its answer: asked again, nobody is there.
  def remove
    ask('containers.remove', { 'force' => true })
  rescue Actord::RequestError => e
    raise unless e.code == 'not_found'
  end
end

def list(actord)
  actors = actord.request('introspection.actors', to: 'supervisor', repeatable: true)['actors']
  puts 'list: metadata is there' if actors.any? { |one| one['name'] == 'metadata' }
  actord.request('containers.get', { 'namespace' => 'default', 'id' => 'nobody' }, to: 'metadata')
rescue Actord::RequestError => e
  puts "error: #{e.code}"
end

def send_nonsense(actord)
  actord.request('containers.get', to: 'x' * 300)
rescue Actord::ProtocolError
  puts 'malformed: not sent'
end

def pull(actord, image)
  wish = { 'namespace' => 'default', 'reference' => image }
  actor = actord.request('images.pull', wish, to: 'supervisor', repeatable: true)['actor']
  seen = 0
  pulled = actord.stream('transfers.attach', to: actor) { seen += 1 }
  puts "pull: #{'progress, then ' if seen.positive?}#{pulled['name']}"
end

def run(actord, image)
  box = Box.new(actord, image, ['sh', '-c', 'tr a-z A-Z; echo done >&2; exit 7'], 'stdin' => true)
  box.write(INPUT)
  out, err, code = box.output
  puts "run: #{out == INPUT.upcase.b ? out.size : 'wrong'} bytes out, #{err.size} bytes err, exit #{code}"
  box.remove
end

def exec_in(box)
  box.ask('tasks.exec', { 'exec_id' => 'one', 'args' => ['echo', 'from exec'] })
  out, _, code = box.output(exec_id: 'one')
  puts "exec: #{out.chomp}, exit #{code}"
end

# So many topics behind event number `after`, and the number of the last.
def topics(actord, wanted, container_id: '', after: 0)
  topics = []
  body = -> { { 'container_id' => container_id, 'after' => after, 'follow' => true } }
  actord.stream('events.subscribe', to: 'events', credit: 16, body:) do |event|
    after = event.header['sq']
    topics << event.body['topic']
    break if topics.size == wanted
  end
  [topics, after]
end

def events(actord, box)
  first, after = topics(actord, 1, container_id: box.id)
  others, = topics(actord, 2, container_id: box.id, after:)
  puts "events: #{first.join}, resumed: #{others.join(' ')}"
end

# What has become of many waits.
class Waits
  attr_reader :seen

  def initialize(link, actor)
    @link = link
    @seen = Hash.new(0)
    @ids = Array.new(WAITS) { Actord::Wire.new_id }
    @open = @ids.to_h { |id| [id, true] }
    @ids.each { |id| link.send({ 't' => 'REQ', 'id' => id, 'to' => actor, 'm' => 'tasks.wait', 'dl' => 600_000 }) }
  end

  # Until there are `wanted` of a kind, or a second has brought nothing.
  def count_until(kind, wanted)
    while @seen[kind] < wanted && (message = @link.receive(1))
      count(message.body) if @open.delete(message.header['re'])
    end
  end

  def count(body)
    @seen[:answered] += 1
    @seen[:refused] += 1 if body['code'] == 'overloaded'
    @seen[:cancelled] += 1 if body['code'] == 'unavailable'
    @seen[:exited] += 1 if body['exit_code'] == 137
  end

  def cancel_one
    @ids.each do |id| # the first ones were let in
      @link.send({ 't' => 'CANCEL', 're' => id })
      count_until(:cancelled, 1)
      break if @seen[:cancelled].positive?
    end
  end
end

# More waits than are allowed; room made by cancelling; then a request that is tried until it passes.
def overload(actord, box)
  waits = Waits.new(actord.link, box.actor)
  waits.count_until(:refused, WAITS - ALLOWED)
  waits.cancel_one
  100.times do
    break if waits.seen[:exited].positive?

    kill = { 't' => 'REQ', 'id' => Actord::Wire.new_id, 'to' => box.actor, 'm' => 'tasks.kill', 'dl' => 30_000 }
    actord.link.send(kill, { 'signal' => 9 })
    waits.count_until(:exited, 1)
  end
  waits.count_until(:answered, WAITS)
  all = waits.seen.values_at(:refused, :cancelled, :exited).all?(&:positive?)
  puts "overload: #{waits.seen[:answered]} answered, #{all ? 'refused, cancelled and done' : waits.seen}"
end

def reconnect(actord, image)
  box = Box.new(actord, image, ['sh', '-c', 'i=0; while :; do echo line $i; i=$((i + 1)); sleep 0.02; done'])
  told = nil
  text = nil
  box.output do |out|
    puts 'kill the router' unless told
    told ||= $stdin.gets
    text = out
    break if actord.reconnections.positive? && out.count("\n") >= LINES
  end
  lines = text.lines.select { |line| line.end_with?("\n") }
  in_order = lines.each_with_index.all? { |line, number| line == "line #{number}\n" }
  puts "reconnected: #{told == "killed\n" && in_order ? 'every line, once' : text}"
  box.remove
end

def session(path, image)
  actord = Actord::Client.new(path)
  puts "connected, protocol #{actord.link.welcome['protocol']}"
  list(actord)
  send_nonsense(actord)
  pull(actord, image)
  run(actord, image)
  box = Box.new(actord, image, %w[sleep 1000])
  exec_in(box)
  events(actord, box)
  overload(actord, box)
  box.remove
  reconnect(actord, image)
  puts 'bye'
  actord.close
end

# Streams of which something is missing: whoever drives this leaves out messages, and says some twice.
def streams(path)
  actord = Actord::Client.new(path)
  out, _, code = Box.new(actord, 'image', []).output
  puts "output: #{out}, exit #{code}"
  puts "events: #{topics(actord, 4).first.join(' ')}"
  actord.close
end

begin
  case ARGV
  in ['vectors'] then vectors
  in ['session', path, image] then session(path, image)
  in ['streams', path] then streams(path)
  else abort 'session.rb vectors | session FILE IMAGE | streams FILE'
  end
rescue Actord::ConnectError, Actord::RequestError => e
  abort e.message
end
