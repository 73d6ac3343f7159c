"""The Lua that makes each step between nodes one indivisible step.

KEYS[1] is the prefix. Below it, besides what the store keeps there:

    lease:SHARD       "NODE FENCE", for as long as the lease lasts
    fences            the store's: hash of shard -> highest number seen
    born              Redis' time when it was first seen empty, in milliseconds
    news, news-count  stream of what all nodes hear, and how many there were ever;
                      it begins with `born`, so that no two Redises count alike
    inbox:NODE        stream of what one node is asked and answered
    shards            how many shards there are, for a day after the last node
    turn:NAME         whose turn it is, for as long as that lasts
    nodes             sorted set: node -> Redis' time at which it counts as dead
    here:NODE         hash: device -> Redis' time at which it came
"""

from typing import Final

_PRELUDE = """
local P = KEYS[1]
local function whole(number) return string.format('%.0f', number) end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function born()
  local at = redis.call('GET', P .. 'born')
  if not at then
    at = whole(now())
    redis.call('SET', P .. 'born', at)
  end
  return tonumber(at)
end
local function fence_of(shard)
  return tonumber(redis.call('HGET', P .. 'fences', shard) or 0)
end
local function counted()
  return redis.call('GET', P .. 'news-count') or whole(born())
end
local function tell(body, most)
  redis.call('SET', P .. 'news-count', counted())
  local number = whole(redis.call('INCR', P .. 'news-count'))
  redis.call('XADD', P .. 'news', 'MAXLEN', '~', most, '*', 'n', number, 'b', body)
  redis.call('XTRIM', P .. 'news', 'MINID', whole(now() - 60000))
  redis.call('PEXPIRE', P .. 'news', 60000)
  return number
end
local function alive(node)
  return tonumber(redis.call('ZSCORE', P .. 'nodes', node) or 0) > now()
end
"""

ACQUIRE: Final = (
    _PRELUDE
    + """
-- ARGV: shard, node, lease in ms, the highest number that the node has seen
local shard, node, lease, seen = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local key = P .. 'lease:' .. shard
local held = redis.call('GET', key)
if held and string.match(held, '^(.*) %d+$') ~= node then
  return 'taken ' .. redis.call('PTTL', key)
end
-- Who held it in a Redis that forgot it may act for a lease yet.
local wait = born() + lease - now()
if not held and wait > 0 then return 'taken ' .. whole(wait) end
local fence = whole(math.max(fence_of(shard) + 1, seen + 1, now()))
redis.call('SET', key, node .. ' ' .. fence, 'PX', lease)
redis.call('HSET', P .. 'fences', shard, fence)
return 'granted ' .. fence
"""
)

RENEW: Final = (
    _PRELUDE
    + """
-- ARGV: shard, node, lease in ms, fence
local shard, node, lease, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key, mine = P .. 'lease:' .. shard, node .. ' ' .. fence
local held = redis.call('GET', key)
if (held and held ~= mine) or fence_of(shard) > tonumber(fence) then return 'lost' end
born()
redis.call('SET', key, mine, 'PX', lease)
redis.call('HSET', P .. 'fences', shard, fence)
return 'renewed'
"""
)

RELEASE: Final = (
    _PRELUDE
    + """
-- ARGV: shard, node, fence, what to tell, how many to keep
local key = P .. 'lease:' .. ARGV[1]
if redis.call('GET', key) ~= ARGV[2] .. ' ' .. ARGV[3] then return 'lost' end
redis.call('DEL', key)
tell(ARGV[4], ARGV[5])
return 'done'
"""
)

TELL: Final = (
    _PRELUDE
    + """
-- ARGV: shard and fence or two empty ones, what to tell, how many to keep
if ARGV[1] ~= '' and fence_of(ARGV[1]) > tonumber(ARGV[2]) then
  return 'fenced ' .. whole(fence_of(ARGV[1]))
end
return 'done ' .. whole(tell(ARGV[3], ARGV[4]))
"""
)

LATEST: Final = (
    _PRELUDE
    + """
-- Where the news are now.
local last = redis.call('XREVRANGE', P .. 'news', '+', '-', 'COUNT', 1)[1]
return { last and last[1] or '0-0', counted() }
"""
)

BEAT: Final = (
    _PRELUDE
    + """
-- ARGV: node, how long it counts as alive in ms
local node, lasts = ARGV[1], tonumber(ARGV[2])
local time = now()
redis.call('ZREMRANGEBYSCORE', P .. 'nodes', '-inf', whole(time - 600000))
redis.call('ZADD', P .. 'nodes', whole(time + lasts), node)
redis.call('PEXPIRE', P .. 'here:' .. node, lasts)
redis.call('PEXPIRE', P .. 'shards', 86400000)
local nodes = redis.call('ZCOUNT', P .. 'nodes', '(' .. whole(time), '+inf')
return { whole(born()), redis.call('HLEN', P .. 'here:' .. node), nodes }
"""
)

BYE: Final = (
    _PRELUDE
    + """
-- ARGV: node
redis.call('ZREM', P .. 'nodes', ARGV[1])
redis.call('DEL', P .. 'here:' .. ARGV[1], P .. 'inbox:' .. ARGV[1])
return 'done'
"""
)

HERE: Final = (
    _PRELUDE
    + """
-- ARGV: node, how long it counts as alive in ms, ('+' or '-' or '=', device)...
-- '=': it came earlier, and this is a Redis that may not know it.
local key, time = P .. 'here:' .. ARGV[1], whole(now())
for i = 3, #ARGV, 2 do
  if ARGV[i] == '+' then redis.call('HSET', key, ARGV[i + 1], time)
  elseif ARGV[i] == '=' then redis.call('HSETNX', key, ARGV[i + 1], '0')
  else redis.call('HDEL', key, ARGV[i + 1]) end
end
redis.call('PEXPIRE', key, ARGV[2])
return 'done'
"""
)

WHERE: Final = (
    _PRELUDE
    + """
-- ARGV: device. Where it came last, of the nodes that live; else ''.
local found, latest = '', -1
for _, node in ipairs(redis.call('ZRANGE', P .. 'nodes', 0, -1)) do
  local at = alive(node) and redis.call('HGET', P .. 'here:' .. node, ARGV[1])
  if at and tonumber(at) > latest then found, latest = node, tonumber(at) end
end
return found
"""
)

EVERYWHERE: Final = (
    _PRELUDE
    + """
local out = {}
for _, node in ipairs(redis.call('ZRANGE', P .. 'nodes', 0, -1)) do
  if alive(node) then
    out[#out + 1] = node
    out[#out + 1] = redis.call('HGETALL', P .. 'here:' .. node)
  end
end
return out
"""
)

ASK: Final = (
    _PRELUDE
    + """
-- ARGV: node, message, how long an answer is awaited in ms
if not alive(ARGV[1]) then return '' end
local key = P .. 'inbox:' .. ARGV[1]
local id = redis.call('XADD', key, 'MAXLEN', '~', 10000, '*', 'b', ARGV[2])
redis.call('PEXPIRE', key, math.max(60000, tonumber(ARGV[3])))
return id
"""
)

SPREAD: Final = (
    _PRELUDE
    + """
-- ARGV: a number of shards or '', what it replaces ('': none, '*': any), what to tell,
-- how many to keep. The number that holds, or ''.
local wished, old = ARGV[1], ARGV[2]
local count = redis.call('GET', P .. 'shards')
if wished == '' then return count or '' end
if count == wished or (count and old ~= '*' and old ~= count) then return count end
redis.call('SET', P .. 'shards', wished, 'PX', 86400000)
tell(ARGV[3], ARGV[4])
return wished
"""
)

TURN: Final = (
    _PRELUDE
    + """
-- ARGV: name, node, for how long in ms. How long it is another's yet; '0': it is ours.
local key = P .. 'turn:' .. ARGV[1]
local whose = redis.call('GET', key)
if whose and whose ~= ARGV[2] then
  return whole(math.max(1, redis.call('PTTL', key)))
end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
return '0'
"""
)

PASS: Final = (
    _PRELUDE
    + """
-- ARGV: name, node, for how long in ms nobody gets it
local key = P .. 'turn:' .. ARGV[1]
local whose = redis.call('GET', key)
if whose and whose ~= ARGV[2] then return 'lost' end
if tonumber(ARGV[3]) > 0 then redis.call('SET', key, '', 'PX', ARGV[3])
else redis.call('DEL', key) end
return 'done'
"""
)

ALL: Final = (
    *(ACQUIRE, RENEW, RELEASE, TELL, LATEST, BEAT, BYE),
    *(HERE, WHERE, EVERYWHERE, ASK, SPREAD, TURN, PASS),
)
