// Asks for messages that aren't on the page: older ones, and those that were missed.

const OLDER = 100;
const GAP = 500;

// The messages in front of all that is there. `changed` is called when there is something to draw.
export function older(room, requests, changed) {
  const { epoch, oldest: before } = room;
  if (room.isAsking || before === undefined) return;
  const request = { type: "history", room: room.name, before, limit: OLDER };
  room.isAsking = requests.ask(request, (history) => {
    room.isAsking = false;
    if (epoch === room.epoch) {
      room.merge(history.messages);
      room.hasOlder = !history.complete && history.messages.length > 0;
    }
    changed();
  }, () => {
    room.isAsking = false;
    changed();
  });
  changed();
}

// The newest of what is missing at a gap.
export function fill(room, gap, requests, changed) {
  const { epoch } = room;
  const request = { type: "history", room: room.name, before: gap.before, limit: GAP };
  const isAsked = requests.ask(request, (history) => {
    gap.state = "open";
    if (epoch === room.epoch) room.fillGap(gap, history.messages, history.complete);
    changed();
  }, () => {
    gap.state = "open";
    changed();
  });
  if (isAsked) gap.state = "asking";
  changed();
}
