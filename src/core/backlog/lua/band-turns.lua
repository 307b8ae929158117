--[[
  Included by the script that releases jobs, behind lanes.lua: which band of a queue comes next.

  Start-time fair queueing once more, over the bands: of those that have something, the one whose next start
  is the smallest goes, and where they are equal, the one with the larger share. What it gets then puts its
  next start off by its cost over its share. A band that had nothing begins at the present, or where its last
  turn ended, so that none saves anything up, and what a band does not use goes to the others.

  Of each band is kept how far beyond the present its next start is, so that no number grows. Nothing is kept
  where all begin at the present. `nextBand` and `afterTurn` in bands.ts say the same.

    leadsIn(kept)                 the numbers in the kept text, by lane
    nextLane(queue, leads, has)   the lane that comes next of those that have something, or nil
    takeTurn(leads, lane, cost)   the lane gets something of this cost
    leadsText(queue, leads)       what is to be kept
]]
local leastCost = 0.001

local function leadsIn(queue, kept)
  local leads, numbers = {}, string.gmatch(kept or '', '%S+')
  for _, lane in ipairs(lanesOf(queue)) do leads[lane] = tonumber(numbers() or '') or 0 end
  return leads
end

local function nextLane(queue, leads, has)
  local best
  for _, lane in ipairs(lanesOf(queue)) do
    if has[lane] and (not best or leads[lane] < leads[best]
      or (leads[lane] == leads[best] and shareOf(lane) > shareOf(best))) then best = lane end
  end
  return best
end

local function takeTurn(leads, lane, cost)
  local present = leads[lane]
  for other, lead in pairs(leads) do leads[other] = math.max(0, lead - present) end
  leads[lane] = math.max(cost, leastCost) / shareOf(lane)
end

local function leadsText(queue, leads)
  local texts = {}
  for at, lane in ipairs(lanesOf(queue)) do texts[at] = string.format('%.17g', leads[lane]) end
  return table.concat(texts, ' ')
end
