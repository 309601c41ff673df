//! A user who speaks plain text.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::time::Sleep;

use crate::chat::content::PLAIN;
use crate::chat::name::UserName;
use crate::chat::rate::{RateLimit, Verdict};
use crate::chat::room::{JoinError, Order, Place, Room, Words};
use crate::chat::room_name::RoomName;
use crate::chat::session::{Session, Step};
use crate::chat::wire::plain;
use crate::net::{Error, Sender, TrySendError};
use crate::proto::{CloseCode, CloseFrame, Message, Prepared};

use super::super::auth::Action;
use super::access::{EXPIRED, Rights};
use super::connections;
use super::line::{Line, Tally};
use super::{Chat, NAME_TIMEOUT};

/// A user.
pub(super) struct User {
    line: Line,
    room: RoomName,
    rights: Rights,
    session: Session,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl User {
    pub(super) fn new(line: Line, room: RoomName, rights: Rights, max_text: Option<usize>) -> Self {
        Self { line, room, rights, session: Session::new(max_text) }
    }

    pub(super) fn sender(&self) -> Sender {
        self.line.sender.clone()
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        self.line.tally.clone()
    }

    pub(super) async fn run(mut self, chat: &Chat, known: &connections::Place) -> Result<(), Error> {
        let named = Box::pin(tokio::time::timeout(NAME_TIMEOUT, self.join(chat))).await;
        let joined = match named {
            Ok(joined) => joined?,
            Err(_) => {
                self.act(Session::timed_out())?;
                None
            }
        };
        // Boxed: a task that waits for messages keeps no room for the end.
        let Some((name, place)) = joined else { return Box::pin(self.line.closed()).await };
        known.describe(&name, std::iter::once(place.room().name().as_str()));
        let ended = self.talk(chat, &name, &place).await;
        // Told at once, however the connection ended; when everybody goes nobody is told.
        if chat.connections.is_shutting_down() {
            place.leave_quietly();
        } else {
            drop(place);
        }
        ended?;
        Box::pin(self.line.closed()).await
    }

    /// Waits for a name that can be had; `None` if the connection closes before that.
    async fn join(&mut self, chat: &Chat) -> Result<Option<(Box<str>, Place)>, Error> {
        let room = match chat.rooms.get(&self.room).await {
            Ok(room) => room,
            Err(error) => {
                let frame = CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "this room can't be opened");
                self.act(Step::Close(error.to_string(), frame.expect("a short reason")))?;
                return Ok(None);
            }
        };
        // A token has said the name already.
        if let Some(name) = self.rights.name().cloned() {
            let step = match self.enter(&room, &name).await? {
                Ok(place) => return Ok(Some((name.as_str().into(), place))),
                Err(error) => {
                    let frame =
                        CloseFrame::new(CloseCode::POLICY_VIOLATION, "your token's name can't be had");
                    Step::Close(error.to_string(), frame.expect("a short reason"))
                }
            };
            self.act(step)?;
            return Ok(None);
        }
        while let Some(message) = self.line.receiver.recv().await? {
            let step = match self.session.receive(&message) {
                Step::Join(name) => match self.enter(&room, &name).await? {
                    Ok(place) => return Ok(Some((name.as_str().into(), place))),
                    Err(error) => self.session.refused(&error),
                },
                step => step,
            };
            if self.act(step)? == Flow::End {
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Joins by a name, if it can be had.
    async fn enter(&mut self, room: &Arc<Room>, name: &UserName) -> Result<Result<Place, JoinError>, Error> {
        let outlet = self.line.outlet(|missed| plain::missed(*missed));
        match room.join(name, (outlet, PLAIN, self.line.mailbox.clone()), None) {
            Ok((place, _)) => {
                self.session.joined();
                self.line.sender.send_prepared(&plain::welcome(name)).await?;
                place.begin();
                Ok(Ok(place))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn talk(&mut self, chat: &Chat, name: &str, place: &Place) -> Result<(), Error> {
        let mut rate = RateLimit::new(chat.settings.rates, Instant::now());
        let mut expiry = self.rights.lasts().map(|lasts| Box::pin(tokio::time::sleep(lasts)));
        loop {
            let message = tokio::select! {
                message = self.line.receiver.recv() => message?,
                orders = self.line.mailbox.next() => return self.obey(orders),
                () = expired(&mut expiry) => {
                    let frame = CloseFrame::new(EXPIRED, "your token has run out: come again with a new one");
                    return self.line.close(frame.ok());
                }
            };
            let Some(message) = message else { return Ok(()) };
            self.line.count(&message);
            if self.receive(&message, name, place).await? == Flow::End {
                return Ok(());
            }
            match rate.count(message.len(), Instant::now()) {
                Verdict::Fine => {}
                verdict => {
                    if Box::pin(self.slow_down(verdict)).await? == Flow::End {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn receive(&mut self, message: &Message, name: &str, place: &Place) -> Result<Flow, Error> {
        match self.session.receive(message) {
            Step::Say(_) if !self.rights.may(Action::Send, place.room().name()) => {
                self.act(Step::Complain("your token doesn't let you talk in this room".to_owned()))
            }
            Step::Say(text) => {
                let room: &Room = place.room();
                if !room.hub().is_ready() {
                    // Boxed: it is seldom needed, and every member's task would keep room for it.
                    Box::pin(room.hub().ready()).await;
                }
                let words = Words { text, key: None, session: String::new(), id: None };
                room.say(Some(place.membership()), name, words);
                Ok(Flow::On)
            }
            step => self.act(step),
        }
    }

    /// Reads no further for a while, if the user says too much; what others say goes on coming.
    async fn slow_down(&mut self, verdict: Verdict) -> Result<Flow, Error> {
        match verdict {
            Verdict::Fine => Ok(Flow::On),
            Verdict::Delay(delay) => match tokio::time::timeout(delay, self.line.mailbox.next()).await {
                Ok(orders) => self.obey(orders).map(|()| Flow::End),
                Err(_) => Ok(Flow::On),
            },
            Verdict::Abuse => {
                let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "too many messages for too long");
                self.line.close(frame.ok())?;
                Ok(Flow::End)
            }
        }
    }

    /// Any order ends a connection that is in one room.
    fn obey(&self, orders: Vec<Order>) -> Result<(), Error> {
        let (code, why) = match orders.into_iter().next() {
            // It is closed already.
            Some(Order::TooSlow) => return Ok(()),
            Some(Order::Kick { by, reason, .. }) => {
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                (CloseCode::POLICY_VIOLATION, format!("you were put out of the room by {by}{reason}"))
            }
            _ => (super::DISCONNECTED, "an administrator disconnected you".to_owned()),
        };
        self.tell(&plain::error(&why))?;
        let frame = CloseFrame::new(code, why).unwrap_or_else(|_| CloseFrame::from(code));
        self.line.close(Some(frame))
    }

    fn act(&mut self, step: Step) -> Result<Flow, Error> {
        match step {
            Step::Ignore | Step::Join(_) | Step::Say(_) => Ok(Flow::On),
            Step::Complain(why) => {
                self.tell(&plain::error(why))?;
                Ok(Flow::On)
            }
            Step::Close(why, frame) => {
                self.tell(&plain::error(why))?;
                self.line.close(Some(frame))?;
                Ok(Flow::End)
            }
        }
    }

    fn tell(&self, line: &Prepared) -> Result<(), Error> {
        match self.line.sender.try_send_prepared(line) {
            // Whoever doesn't read its complaints doesn't get more of them.
            Ok(()) | Err(TrySendError::Full(())) => Ok(()),
            Err(TrySendError::Refused(error)) => Err(error),
        }
    }
}

/// Ready when a token has run out, if there is one.
pub(super) async fn expired(expiry: &mut Option<Pin<Box<Sleep>>>) {
    match expiry {
        Some(expiry) => expiry.await,
        None => std::future::pending().await,
    }
}
