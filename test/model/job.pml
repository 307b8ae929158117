/*
  The life of one job, as Redis' scripts make it: each `atomic` step below is one script, and everything that
  stands between two steps may be interrupted by anybody else, or by death. Two workers (of which either may
  die, be stopped past its lease, or cheat), two attestors that judge at once, a sweep that closes epochs
  whose lease ran out, a caller who cancels, a deadline, and replies that are lost, so that a step is taken
  twice.

    claim     claim.lua      epoch + 1, where the epoch before it is closed
    commit    commit.lua     evidence of an epoch that is not closed, by the worker that holds it
    sequence  sequence.lua   a place in the log, for an epoch that is not closed and a job without an end
    rule      rule.lua       every other end, and the closing of an epoch, for a job without a place
    publish   publish.lua    the log's size goes beyond the place: done

  -DNO_FENCE takes the comparison with the epoch out of commit and sequence, as if a lease alone were enough.
  What is printed is told where spin replays a counterexample, and costs the search nothing.
  Run `npm run test:model`.
*/
#ifndef EPOCHS
#define EPOCHS 2
#endif
#define NONE 0

mtype = { running, cancelled, failed, right, wrong }

mtype ended = running;   /* the end without a place, or `running` */
byte claimed = 0;        /* the newest epoch */
byte holder[4];          /* which worker claimed it */
bool leased[4];          /* whether its lease stands */
bool closed[4];          /* whether it was closed */
bool evidence[4];
bool honest[4];          /* whether that evidence is of the right answer */
bool cancel = false;     /* the caller has asked */
byte place = NONE;       /* the epoch that has a place in the log */
bool published = false;
byte places = 0;         /* how many places were ever given */
bool zombie_refused = false;

#define hasEnd (ended != running || published)

inline claim(me, epoch) {
  atomic {
    epoch = NONE;
    if
    :: ended == running && place == NONE && !cancel && claimed < EPOCHS && (claimed == 0 || closed[claimed]) ->
         claimed++;
         holder[claimed] = me;
         leased[claimed] = true;
         epoch = claimed;
         printf("worker %d claims epoch %d\n", me, epoch)
    :: else -> skip
    fi
  }
}

inline commit(me, epoch, isHonest) {
  atomic {
    if
#ifdef NO_FENCE
    :: ended == running && place == NONE ->
#else
    :: ended == running && !closed[epoch] && holder[epoch] == me ->
#endif
         if
         :: !evidence[epoch] ->
              evidence[epoch] = true;
              honest[epoch] = isHonest;
              leased[epoch] = false;
              printf("worker %d commits a %e answer of epoch %d\n", me, (isHonest -> right : wrong), epoch)
         :: else -> skip
         fi
    :: else -> zombie_refused = true; printf("the commit of worker %d for epoch %d is refused\n", me, epoch)
    fi
  }
}

inline sequence(epoch) {
  atomic {
    if
    :: place == epoch && ended == running -> skip          /* judged again: it keeps its place */
#ifdef NO_FENCE
    :: place != epoch && ended == running && !cancel ->
#else
    :: place == NONE && ended == running && !cancel && evidence[epoch] && !closed[epoch] ->
#endif
         place = epoch;
         places++;
         printf("an attestor gives epoch %d a place in the log, the %d. of this job\n", epoch, places)
    :: else -> skip
    fi
  }
}

/* Closes an epoch; the last one ends the job. */
inline close(epoch) {
  atomic {
    if
    :: ended == running && place == NONE && !closed[epoch] && claimed == epoch ->
         closed[epoch] = true;
         leased[epoch] = false;
         printf("epoch %d is closed\n", epoch);
         if
         :: epoch == EPOCHS -> ended = failed; printf("the job has failed\n")
         :: else -> skip
         fi
    :: else -> skip
    fi
  }
}

proctype Worker(byte me) {
  byte epoch;
  bool isHonest;
  do
  :: hasEnd || claimed == EPOCHS -> break
  :: !hasEnd && claimed < EPOCHS ->
       claim(me, epoch);
       if
       :: epoch == NONE -> skip
       :: epoch != NONE ->
            if
            :: isHonest = true
            :: isHonest = false
            fi;
            /* It runs for as long as it likes, is stopped past its lease, or dies here and is started anew. */
            if
            :: true -> commit(me, epoch, isHonest)
            :: true -> commit(me, epoch, isHonest); commit(me, epoch, isHonest)   /* the reply was lost */
            :: true -> skip
            fi;
            epoch = NONE;
            isHonest = false
       fi
  od
}

/* Between reading and ruling, the epoch may be closed, and another attestor may judge it too. */
inline judge(epoch) {
  if
  :: honest[epoch] -> sequence(epoch)
  :: !honest[epoch] -> close(epoch)
  fi
}

proctype Attestor() {
  do
  :: hasEnd -> break
  :: evidence[1] && !closed[1] && !hasEnd -> judge(1)
  :: evidence[2] && !closed[2] && !hasEnd -> judge(2)
  od
}

/* The sweep: leases that ran out, what the caller asked for, and the deadline. */
proctype Sweep() {
  byte epoch;
  do
  :: hasEnd -> break
  :: atomic { !hasEnd && claimed > 0 && leased[claimed] && !evidence[claimed] ->
              leased[claimed] = false;
              printf("the lease of epoch %d has run out\n", claimed) }
  :: !hasEnd && claimed > 0 && !leased[claimed] && !closed[claimed] && !evidence[claimed] ->
       epoch = claimed;
       close(epoch)
  :: atomic { !hasEnd && cancel && place == NONE -> ended = cancelled; printf("the job is cancelled\n") }
  od
}

proctype Publisher() {
  do
  :: hasEnd -> break
  :: atomic { place != NONE && !published -> published = true; printf("the job is done\n") }
  od
}

proctype Caller() {
  if
  :: atomic { ended == running && place == NONE -> cancel = true; printf("the caller cancels\n") }
  :: skip
  fi
}

init {
  atomic { run Worker(1); run Worker(2); run Attestor(); run Attestor(); run Sweep(); run Publisher(); run Caller() }
}

/* At most one place; nothing that has a place has another end; what is done is the right answer of an epoch
   that was not closed. */
ltl safe { [] (places <= 1 && !(place != NONE && ended != running) &&
              (place == NONE || (honest[place] && !closed[place]))) }

/* A job has one place in the log at most. */
ltl once { [] (places <= 1) }

/* A final state never changes. */
ltl final { [] (published -> [] published) && [] (ended == failed -> [] (ended == failed)) &&
            [] (ended == cancelled -> [] (ended == cancelled)) }

/* Every job ends, where nobody is held back for ever. */
ltl ends { <> (published || ended != running) }

/* These have to be refuted: they say that what the model is about never happens. */
ltl no_zombie { [] !zombie_refused }
ltl no_second_attempt { [] !(published && place > 1) }
