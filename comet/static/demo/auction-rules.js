// The rules of the auction: what the messages of a lot's topic mean, one after the other.
//
// There is no auctioneer. Every window reads the same log from its beginning, and applies the same rules, so
// all come to the same result. Of two bids of 60 that are sent in the same moment the log has one first, and
// that is the one that counts: for everybody, because there is one order, and it is not the order in which
// anybody heard of them.
//
// The rules look at nothing but the messages. The time of a message is the daemon's, so a bid was in time, or
// was not, for everybody; whoever bids with a wrong clock, or heard of the end late, is told like anybody
// else.
export const SECONDS = 60; // that a lot is open
export const LATE = 10; // a bid that leaves less than this extends it to this
export const FIRST = 50; // the least bid
export const STEP = 5; // by which each has to be higher

export const closed = { round: null, deadline: 0, best: null, bids: [] };

export const least = ({ best }) => (best ? best.amount + STEP : FIRST);

// What a lot is after a message, given what it was before.
export function after(lot, { id, time, data }) {
  // Two windows can open a lot at the same time. The second finds it open.
  if (data?.open === true && time <= lot.deadline) return lot;
  if (data?.open === true) return { ...closed, round: id, deadline: time + SECONDS };
  if (!Number.isSafeInteger(data?.amount) || !lot.round) return lot;

  const bid = { id, amount: data.amount, by: String(data.by), refused: refusal(lot, time, data) };
  const bids = [...lot.bids, bid].slice(-20);
  if (bid.refused) return { ...lot, bids };
  return { ...lot, bids, best: bid, deadline: Math.max(lot.deadline, time + LATE) };
}

// A bid names the round that it is meant for: the one who sent it must not win the next one by it.
function refusal(lot, time, { amount, round }) {
  if (time > lot.deadline || round !== lot.round) return "too late";
  return amount < least(lot) ? "too low" : "";
}
