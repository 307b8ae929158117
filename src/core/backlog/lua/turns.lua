--[[
  Included by the scripts that look after who goes first within a flow.

  The tags of a backlog say which flow comes next, and never which of its jobs. Nearly always that is the one
  with the tag. A job that is to go before others of its flow also stands in `outofturn`, by flow and rank:
  with the mark `a` since it was admitted, with `p` since it came up and was put back. Whatever comes up of
  its flow gives way to it; see release.lua.

    turnOf(flow, mark, rank, id)       how the job stands there
    firstOf(queue, flow, mark)         id and rank of the first of the flow with this mark, or nil
    countBefore(queue, flow, rank)     how many of the flow stand there before this rank

    justBefore(tag)                    the tag of what goes before a job with this one: equal tags go by ids
    heldTag                            where jobs stand in a backlog that a limit holds back, behind every tag
]]
local heldTag = 1e15

-- By so little that it costs no flow anything, however often it is done.
local function justBefore(tag) return tag * (1 - 2 ^ -45) end

local function turnOf(flow, mark, rank, id) return string.format('%s %s %016.0f %s', flow, mark, rank, id) end

local function firstOf(queue, flow, mark)
  local marked = flow .. ' ' .. mark
  local set, from, to = keys.outOfTurn(queue), '[' .. marked .. ' ', '(' .. marked .. '!'
  local first = redis.call('ZRANGE', set, from, to, 'BYLEX', 'LIMIT', 0, 1)[1]
  if not first then return end
  local rank, id = string.match(first, ' (%d+) (%S+)$')
  return id, tonumber(rank)
end

local function countBefore(queue, flow, rank)
  local count = 0
  for _, mark in ipairs({ 'a', 'p' }) do
    local upTo = string.format('(%s %s %016.0f', flow, mark, rank)
    count = count + redis.call('ZLEXCOUNT', keys.outOfTurn(queue), '[' .. flow .. ' ' .. mark .. ' ', upTo)
  end
  return count
end
