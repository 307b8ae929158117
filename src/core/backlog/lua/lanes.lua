--[[
  Included by the scripts that look after what waits. A lane is a band of a queue. That of the standard band
  has the queue's own name, and each other one `<queue>/<band>`, which no queue can have. Each lane has a
  backlog, flows, debts and limits that hold back of its own; what is released and runs is the queue's.

  bands.ts has the same shares, and `jobsBeside` as well.

    laneOf(queue, band)    the lane of a job, by what its hash says of its band: nothing where it is standard
    lanesOf(queue)         all lanes of a queue, the standard one first
    queueOf(lane)          the queue that a lane is of
    shareOf(lane)          the least share of its queue that its band has while anything waits in it
    jobsBeside(lane, count, waitingIn)   how many jobs of other lanes are released before one that has so many
                           of its own lane before it; `waitingIn` counts what waits in a lane
]]
local bands = { 'standard', 'interactive', 'batch' }
local bandShares = { standard = 30, interactive = 60, batch = 10 }

local function laneOf(queue, band)
  if not band or band == '' or band == 'standard' then return queue end
  return queue .. '/' .. band
end

local function lanesOf(queue)
  local lanes = {}
  for at, band in ipairs(bands) do lanes[at] = laneOf(queue, band) end
  return lanes
end

local function queueOf(lane) return (string.match(lane, '^[^/]+')) end

local function shareOf(lane) return bandShares[string.match(lane, '/(.+)$') or 'standard'] end

local function jobsBeside(lane, count, waitingIn)
  local beside = 0
  if count <= 0 then return beside end
  for _, other in ipairs(lanesOf(queueOf(lane))) do
    if other ~= lane then
      beside = beside + math.min(waitingIn(other), math.ceil(count * shareOf(other) / shareOf(lane)))
    end
  end
  return beside
end
