"""The Lua that makes each call of the Redis store one indivisible step.

KEYS[1] is the prefix. Below it, for the whole store:

    version             the number of the last batch
    fences              hash: shard -> highest number seen
    kinds               set of the kinds of documents
    d:KIND              hash: id -> "VERSION LENGTH-OF-PARENT PARENT-AND-BODY"
    p:LENGTH:KIND:PARENT   set: the ids of that parent
    blobs               hash: LENGTH-OF-KIND (4 bytes), KIND, ID
                        -> "CONTENT SIZE SHA256"
    b:CONTENT, u:CONTENT   the bytes of a blob, and of an upload that is not finished

A script that fails half-way is not undone, so each one checks all before it writes.
"""

from typing import Final

_PRELUDE = """
local P = KEYS[1]
local function children(kind, parent)
  return P .. 'p:' .. #kind .. ':' .. kind .. ':' .. parent
end
local function parent_of(value)
  local length, at = string.match(value, '^%d+ (%d+) ()')
  return string.sub(value, at, at + length - 1)
end
local function version() return tonumber(redis.call('GET', P .. 'version') or 0) end
-- The time in microseconds, or more: a Redis that comes back empty, or a replica that
-- lacks the last batches of its master, gives out no number that was given out before.
local function next_version()
  local now = redis.call('TIME')
  return math.max(version() + 1, now[1] * 1000000 + now[2])
end
local function put(kind, id, old, number, parent, body)
  local value = string.format('%.0f %d ', number, #parent) .. parent .. body
  redis.call('HSET', P .. 'd:' .. kind, id, value)
  if not old then redis.call('SADD', P .. 'kinds', kind) end
  if old and parent_of(old) ~= parent then
    redis.call('SREM', children(kind, parent_of(old)), id)
  end
  if not old or parent_of(old) ~= parent then
    redis.call('SADD', children(kind, parent), id)
  end
end
local function whole(content, size)
  return redis.call('STRLEN', P .. 'u:' .. content) == tonumber(size)
end
local function name(key, content, size, sha256)
  if tonumber(size) > 0 then
    redis.call('RENAME', P .. 'u:' .. content, P .. 'b:' .. content)
    redis.call('PERSIST', P .. 'b:' .. content)
  end
  redis.call('HSET', P .. 'blobs', key, content .. ' ' .. size .. ' ' .. sha256)
end
local function content_of(blob) return string.match(blob, '^%d+') end
"""

WRITE: Final = (
    _PRELUDE
    + """
local shard, fence = ARGV[1], ARGV[2]
if shard ~= '' then
  local highest = redis.call('HGET', P .. 'fences', shard)
  if highest and tonumber(fence) < tonumber(highest) then
    return 'fenced ' .. highest
  end
end
local number = next_version()
local written = string.format('%.0f', number)
local found = {}
for i = 3, #ARGV, 6 do
  local op, kind, id, expected = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = #kind .. ':' .. kind .. id
  if found[key] == nil then
    local value = redis.call('HGET', P .. 'd:' .. kind, id)
    found[key] = value and string.match(value, '^%d+') or ''
  end
  if expected ~= '*' and expected ~= found[key] then
    return 'conflict ' .. (i - 3) / 6 .. ' ' .. found[key]
  end
  found[key] = op == 'put' and written or ''
end
for i = 3, #ARGV, 6 do
  local kind, id = ARGV[i + 1], ARGV[i + 2]
  local old = redis.call('HGET', P .. 'd:' .. kind, id)
  if ARGV[i] == 'put' then
    put(kind, id, old, number, ARGV[i + 4], ARGV[i + 5])
  elseif old then
    redis.call('HDEL', P .. 'd:' .. kind, id)
    redis.call('SREM', children(kind, parent_of(old)), id)
  end
end
if shard ~= '' then redis.call('HSET', P .. 'fences', shard, fence) end
redis.call('SET', P .. 'version', written)
return 'done ' .. written
"""
)

CHILDREN: Final = (
    _PRELUDE
    + """
local ids, out = redis.call('SMEMBERS', children(ARGV[1], ARGV[2])), {}
for first = 1, #ids, 1000 do  -- Lua takes so many arguments, not all
  local some = { unpack(ids, first, math.min(first + 999, #ids)) }
  for n, value in ipairs(redis.call('HMGET', P .. 'd:' .. ARGV[1], unpack(some))) do
    out[#out + 1] = some[n]
    out[#out + 1] = value
  end
end
return out
"""
)

BEGIN_UPLOAD: Final = (
    _PRELUDE
    + """
local number = string.format('%.0f', next_version())
redis.call('SET', P .. 'version', number)
return number
"""
)

APPEND_UPLOAD: Final = (
    _PRELUDE
    + """
local key = P .. 'u:' .. ARGV[1]
if redis.call('STRLEN', key) ~= tonumber(ARGV[2]) then return 'lost' end
redis.call('APPEND', key, ARGV[3])
redis.call('EXPIRE', key, ARGV[4])
return 'done'
"""
)

PUBLISH: Final = (
    _PRELUDE
    + """
local key, content, size, sha256 = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not whole(content, size) then return 'lost' end
local old = redis.call('HGET', P .. 'blobs', key)
if old and string.match(old, '%x+$') == sha256 then
  redis.call('UNLINK', P .. 'u:' .. content)
  return 'same ' .. old
end
name(key, content, size, sha256)
if old then redis.call('UNLINK', P .. 'b:' .. content_of(old)) end
return 'done'
"""
)

DELETE_BLOB: Final = (
    _PRELUDE
    + """
local old = redis.call('HGET', P .. 'blobs', ARGV[1])
if old then
  redis.call('HDEL', P .. 'blobs', ARGV[1])
  redis.call('UNLINK', P .. 'b:' .. content_of(old))
end
return 'done'
"""
)

PICTURE: Final = (
    _PRELUDE
    + """
local documents = {}
for _, kind in ipairs(redis.call('SMEMBERS', P .. 'kinds')) do
  documents[#documents + 1] = kind
  documents[#documents + 1] = redis.call('HGETALL', P .. 'd:' .. kind)
end
return {
  string.format('%.0f', version()),
  redis.call('HGETALL', P .. 'fences'),
  redis.call('HGETALL', P .. 'blobs'),
  documents,
}
"""
)

BECOME: Final = (
    _PRELUDE
    + """
-- ARGV: 'replace' or '', version; how many fences, (shard, number)...;
-- how many blobs, (key, content, size, sha256)...;
-- (kind, id, version, parent, body)...
local kinds = redis.call('SMEMBERS', P .. 'kinds')
if ARGV[1] ~= 'replace' then
  if redis.call('HLEN', P .. 'blobs') > 0 then return 'not empty' end
  for _, kind in ipairs(kinds) do
    if redis.call('HLEN', P .. 'd:' .. kind) > 0 then return 'not empty' end
  end
end
local fences_at = 4
local blobs_at = fences_at + 2 * ARGV[3] + 1
local documents_at = blobs_at + 4 * ARGV[blobs_at - 1]
for i = blobs_at, documents_at - 1, 4 do
  if not whole(ARGV[i + 1], ARGV[i + 2]) then return 'lost ' .. ARGV[i + 1] end
end
local number = math.max(version(), tonumber(ARGV[2]))
for _, kind in ipairs(kinds) do
  local values = redis.call('HVALS', P .. 'd:' .. kind)
  for _, value in ipairs(values) do
    redis.call('DEL', children(kind, parent_of(value)))
  end
  redis.call('UNLINK', P .. 'd:' .. kind)
end
for _, blob in ipairs(redis.call('HVALS', P .. 'blobs')) do
  redis.call('UNLINK', P .. 'b:' .. content_of(blob))
end
redis.call('DEL', P .. 'kinds', P .. 'blobs')
for i = fences_at, blobs_at - 2, 2 do
  local highest = redis.call('HGET', P .. 'fences', ARGV[i])
  if not highest or tonumber(highest) < tonumber(ARGV[i + 1]) then
    redis.call('HSET', P .. 'fences', ARGV[i], ARGV[i + 1])
  end
end
for i = blobs_at, documents_at - 1, 4 do
  name(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
end
for i = documents_at, #ARGV, 5 do
  put(ARGV[i], ARGV[i + 1], nil, tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4])
end
redis.call('SET', P .. 'version', string.format('%.0f', number))
return 'done'
"""
)

ALL: Final = (
    WRITE,
    CHILDREN,
    BEGIN_UPLOAD,
    APPEND_UPLOAD,
    PUBLISH,
    DELETE_BLOB,
    PICTURE,
    BECOME,
)
