//! A user who speaks JSON: hello first, then requests and answers until one side ends it.

mod greeting;
mod requests;
mod rooms;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::Sleep;

use crate::chat::name::UserName;
use crate::chat::rate::{RateLimit, Verdict};
use crate::chat::room::{Contact, Order, Place, Presence, Receipt, Room};
use crate::chat::room_name::RoomName;
use crate::chat::sessions::Held;
use crate::chat::store::StoreError;
use crate::chat::wire::json::{Answer, Code, Credentials, Failure, Hello, Limits, Position, Request};
use crate::net::{Error, Sender, TrySendError};
use crate::proto::{CloseCode, CloseFrame, Message, Prepared};

use super::super::auth::Action;
use super::access::{EXPIRED, Rights};
use super::line::{Line, Tally};
use super::plain::expired;
use super::{Chat, DISCONNECTED, TAKEN_OVER, connections};
use greeting::Admitted;
use rooms::MAX_ROOMS;

/// A user.
pub(super) struct User {
    line: Line,
    /// The path's.
    room: RoomName,
    rights: Rights,
}

/// A user who has said hello.
struct Client<'a> {
    chat: &'a Chat,
    known: &'a connections::Place,
    line: Line,
    name: UserName,
    session: Credentials,
    contact: Arc<dyn Contact>,
    rights: Rights,
    /// Bounded by `MAX_ROOMS`.
    places: BTreeMap<RoomName, Place>,
    /// Rooms of the session that was taken over, to be in again. While there are any nothing is read.
    held: VecDeque<Presence>,
    /// What the client has of them.
    known_offsets: BTreeMap<String, Position>,
    /// What the socket had no room for. While there is any nothing is read.
    answers: VecDeque<Waiting>,
    /// What waits for the disk. Bounded by `MAX_UNSTORED`.
    receipts: VecDeque<Unstored>,
    /// When the token runs out.
    expiry: Option<Pin<Box<Sleep>>>,
}

/// An answer that waits for its turn.
struct Waiting {
    answer: Prepared,
    /// In which room the client is once it has this.
    begins: Option<RoomName>,
}

/// Something that was said and waits for the disk.
struct Unstored {
    id: Option<String>,
    room: Arc<Room>,
    receipt: Receipt,
}

/// How much of what a connection said may wait for the disk.
const MAX_UNSTORED: usize = 1024;

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// For good: it closed, or was closed.
    Gone,
    /// Its connection was lost: it may come back.
    Lost,
}

impl User {
    pub(super) fn new(line: Line, room: RoomName, rights: Rights) -> Self {
        Self { line, room, rights }
    }

    pub(super) fn sender(&self) -> Sender {
        self.line.sender.clone()
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        self.line.tally.clone()
    }

    pub(super) async fn run(mut self, chat: &Chat, known: &connections::Place) -> Result<(), Error> {
        let Some(admitted) = Box::pin(self.greet(chat)).await? else {
            return Box::pin(self.line.closed()).await;
        };
        let Admitted { hello, name, session, held } = admitted;
        let contact: Arc<dyn Contact> = self.line.mailbox.clone();
        let mut client = Client {
            chat,
            known,
            line: self.line,
            name,
            session,
            contact,
            rights: self.rights,
            places: BTreeMap::new(),
            held: VecDeque::new(),
            known_offsets: BTreeMap::new(),
            answers: VecDeque::new(),
            receipts: VecDeque::new(),
            expiry: None,
        };
        let result = client.serve(self.room, hello, held).await;
        client.end(result).await
    }
}

impl Client<'_> {
    async fn serve(&mut self, room: RoomName, hello: Hello, held: Option<Held>) -> Result<End, Error> {
        self.welcome(&room, held.is_some());
        let Hello { after, rooms, name, session, token } = hello;
        // This future lasts as long as the connection: nothing of the hello is kept that isn't needed any more.
        drop((name, session, token));
        self.known_offsets = rooms;
        if let Some(after) = after {
            self.known_offsets.insert(room.as_str().to_owned(), after);
        }
        self.held.extend(held.into_iter().flat_map(|held| held.presences));
        // A newer token may allow less.
        self.held.retain(|presence| self.rights.may(Action::Join, presence.room().name()));
        if !self.held.iter().any(|presence| *presence.room().name() == room) {
            let after = self.known_offsets.get(room.as_str()).cloned();
            if let Err(failure) = self.join(&room, None, after.as_ref()).await {
                self.answer(failure.encode());
            }
        }
        let known = &mut self.known_offsets;
        known.retain(|room, _| self.held.iter().any(|presence| presence.room().name().as_str() == room));
        drop(room);
        Box::pin(self.talk()).await
    }

    fn welcome(&mut self, room: &RoomName, resumed: bool) {
        let settings = &self.chat.settings;
        let welcome = Answer::Welcome {
            name: self.name.as_str(),
            connection: self.known.id(),
            session: &self.session,
            resumed,
            moderator: self.rights.may(Action::Moderate, room),
            limits: Limits {
                text: settings.max_text,
                message_bytes: settings.config.limits.max_message_bytes,
                rooms: MAX_ROOMS,
                signal_bytes: crate::chat::wire::json::MAX_DATA_BYTES,
            },
            server: concat!("switchboard/", env!("CARGO_PKG_VERSION")),
        }
        .encode();
        self.answer(welcome);
    }

    /// Reads requests until the session ends.
    async fn talk(&mut self) -> Result<End, Error> {
        let mut rate = RateLimit::new(self.chat.settings.rates, Instant::now());
        self.expiry = self.rights.lasts().map(|lasts| Box::pin(tokio::time::sleep(lasts)));
        loop {
            self.rejoin()?;
            let is_free =
                self.answers.is_empty() && self.held.is_empty() && self.receipts.len() < MAX_UNSTORED;
            tokio::select! {
                orders = self.line.mailbox.next() => {
                    if let Some(end) = self.obey(orders)? {
                        return Ok(end);
                    }
                }
                stored = next_stored(&mut self.receipts), if !self.receipts.is_empty() => {
                    self.acknowledge(stored);
                }
                room = self.line.sender.room(), if !self.answers.is_empty() => room?,
                () = expired(&mut self.expiry) => {
                    let frame = CloseFrame::new(EXPIRED, "your token has run out: come again with a new one");
                    self.line.close(frame.ok())?;
                    return Ok(End::Gone);
                }
                message = self.line.receiver.recv(), if is_free => {
                    let Some(message) = message? else { return Ok(End::Gone) };
                    self.line.count(&message);
                    if let Some(end) = self.receive(&message).await? {
                        return Ok(end);
                    }
                    match rate.count(message.len(), Instant::now()) {
                        Verdict::Fine => {}
                        verdict => if let Some(end) = Box::pin(self.slow_down(verdict)).await? {
                            return Ok(end);
                        },
                    }
                }
            }
        }
    }

    async fn receive(&mut self, message: &Message) -> Result<Option<End>, Error> {
        let Some(text) = message.as_text() else {
            self.line.close(not_text())?;
            return Ok(Some(End::Gone));
        };
        let done = match Request::parse(text) {
            // Boxed: most of the time nothing is asked.
            Ok(request) => Box::pin(self.handle(request)).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            self.answer(failure.encode());
        }
        Ok(None)
    }

    /// Reads no further for a while, if the user says too much; what others say goes on coming.
    async fn slow_down(&mut self, verdict: Verdict) -> Result<Option<End>, Error> {
        let delay = match verdict {
            Verdict::Fine => return Ok(None),
            Verdict::Delay(delay) => delay,
            Verdict::Abuse => {
                let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "too many messages for too long");
                self.line.close(frame.ok())?;
                return Ok(Some(End::Gone));
            }
        };
        let end = tokio::time::Instant::now() + delay;
        loop {
            self.flush()?;
            tokio::select! {
                orders = self.line.mailbox.next() => {
                    if let Some(end) = self.obey(orders)? {
                        return Ok(Some(end));
                    }
                }
                stored = next_stored(&mut self.receipts), if !self.receipts.is_empty() => {
                    self.acknowledge(stored);
                }
                room = self.line.sender.room(), if !self.answers.is_empty() => room?,
                () = tokio::time::sleep_until(end) => return Ok(None),
            }
        }
    }

    fn obey(&mut self, orders: Vec<Order>) -> Result<Option<End>, Error> {
        for order in orders {
            match order {
                Order::Kick { room, by, reason } => {
                    if self.places.remove(&room).is_some() {
                        let kicked =
                            Answer::Kicked { room: room.as_str(), by: &by, reason: reason.as_deref() };
                        self.answer(kicked.encode());
                        self.describe();
                    }
                }
                Order::Disconnect => {
                    let frame = CloseFrame::new(DISCONNECTED, "an administrator disconnected you");
                    self.line.close(frame.ok())?;
                    return Ok(Some(End::Gone));
                }
                Order::GiveUp => {
                    let frame = CloseFrame::new(TAKEN_OVER, "another connection took the session over");
                    // It may be broken already, which is why there is another one.
                    let _ = self.line.close(frame.ok());
                    return Ok(Some(End::Lost));
                }
                // It is closed already.
                Order::TooSlow => return Ok(Some(End::Gone)),
            }
        }
        Ok(None)
    }

    /// The session ends, or is held for whoever comes back.
    async fn end(mut self, result: Result<End, Error>) -> Result<(), Error> {
        let (places, held) = (std::mem::take(&mut self.places), std::mem::take(&mut self.held));
        let end = match &result {
            Ok(end) => *end,
            // A connection that was closed, fell silent, read too slowly or broke the rules is no accident.
            Err(Error::Lost | Error::Io(_)) if self.line.tally.ours().is_none() => End::Lost,
            Err(_) => End::Gone,
        };
        if self.chat.connections.is_shutting_down() {
            places.into_values().for_each(Place::leave_quietly);
        } else if end == End::Lost {
            let mut presences: Vec<_> = places.into_values().map(Place::hold).chain(held).collect();
            // Who was put out just now doesn't come back with it. Whoever is put out later isn't reached by orders.
            for order in self.line.mailbox.take() {
                if let Order::Kick { room, .. } = order {
                    presences.retain(|presence| *presence.room().name() != room);
                }
            }
            self.chat.sessions.hold(&self.session.id, &self.contact, self.name, presences);
        } else {
            drop((places, held));
            self.chat.sessions.end(&self.session.id, &self.contact);
        }
        result?;
        self.line.closed().await
    }

    /// Says something, in its turn.
    fn answer(&mut self, answer: Prepared) {
        self.answers.push_back(Waiting { answer, begins: None });
    }

    /// Sends what there is room for.
    fn flush(&mut self) -> Result<(), Error> {
        while let Some(Waiting { answer, begins }) = self.answers.front() {
            match self.line.sender.try_send_prepared(answer) {
                Ok(()) => {}
                Err(TrySendError::Full(())) => return Ok(()),
                Err(TrySendError::Refused(error)) => return Err(error),
            }
            if let Some(place) = begins.as_ref().and_then(|room| self.places.get(room)) {
                place.begin();
            }
            self.answers.pop_front();
        }
        Ok(())
    }

    /// What was said is on disk, or can't be.
    fn acknowledge(&mut self, stored: Result<(), StoreError>) {
        let Some(Unstored { id, room, receipt }) = self.receipts.pop_front() else { return };
        let answer = match stored {
            Ok(()) => acknowledgement(id.as_deref(), &room, &receipt),
            Err(error) => {
                let message = format!("the message can't be kept: {error}");
                let (room, code) = (Some(room.name().as_str().to_owned()), Code::Unavailable);
                Failure { id, room, code, message, retry_after: Some(1) }.encode()
            }
        };
        self.answer(answer);
    }
}

/// Waits for the disk to have the first of them.
///
/// # Cancel safety
///
/// Dropped it changes nothing.
async fn next_stored(receipts: &mut VecDeque<Unstored>) -> Result<(), StoreError> {
    match receipts.front_mut().and_then(|first| first.receipt.durable.as_mut()) {
        Some(durable) => durable.await,
        None => Ok(()),
    }
}

fn acknowledgement(id: Option<&str>, room: &Room, receipt: &Receipt) -> Prepared {
    let Receipt { offset, time, is_duplicate, .. } = *receipt;
    Answer::Ack { id, room: room.name().as_str(), offset, time, duplicate: is_duplicate }.encode()
}

fn not_text() -> Option<CloseFrame> {
    CloseFrame::new(CloseCode::UNSUPPORTED_DATA, "only text messages are understood here").ok()
}

fn failure(request: &Request, code: Code, message: impl Into<String>) -> Failure {
    Failure {
        id: request.id().map(str::to_owned),
        room: request.room().map(str::to_owned),
        code,
        message: message.into(),
        retry_after: None,
    }
}
