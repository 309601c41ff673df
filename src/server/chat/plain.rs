//! A user who speaks plain text.

use std::time::Instant;

use crate::chat::content::PLAIN;
use crate::chat::rate::{RateLimit, Verdict};
use crate::chat::room::{Order, Place, Room, Words};
use crate::chat::room_name::RoomName;
use crate::chat::session::{Session, Step};
use crate::chat::wire::plain;
use crate::net::{Error, TrySendError};
use crate::proto::{CloseCode, CloseFrame, Message, Prepared};

use super::connections;
use super::{Chat, Line, NAME_TIMEOUT};

/// A user.
pub(super) struct User {
    line: Line,
    room: RoomName,
    session: Session,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

impl User {
    pub(super) fn new(line: Line, room: RoomName, max_text: Option<usize>) -> Self {
        Self { line, room, session: Session::new(max_text) }
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
        let Some((name, place)) = joined else { return self.line.receiver.closed().await };
        known.describe(&name, std::iter::once(place.room().name().as_str()));
        let ended = self.talk(chat, &name, &place).await;
        // Told at once, however the connection ended; when everybody goes nobody is told.
        if chat.connections.is_shutting_down() {
            place.leave_quietly();
        } else {
            drop(place);
        }
        ended?;
        self.line.receiver.closed().await
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
        while let Some(message) = self.line.receiver.recv().await? {
            let step = match self.session.receive(&message) {
                Step::Join(name) => {
                    let outlet = self.line.outlet(|missed| plain::missed(*missed));
                    match room.join(&name, (outlet, PLAIN, self.line.mailbox.clone()), None) {
                        Ok((place, _)) => {
                            self.session.joined();
                            self.line.sender.send_prepared(&plain::welcome(&name)).await?;
                            place.begin();
                            return Ok(Some((name.as_str().into(), place)));
                        }
                        Err(error) => self.session.refused(&error),
                    }
                }
                step => step,
            };
            if self.act(step)? == Flow::End {
                return Ok(None);
            }
        }
        Ok(None)
    }

    async fn talk(&mut self, chat: &Chat, name: &str, place: &Place) -> Result<(), Error> {
        let mut rate = RateLimit::new(chat.settings.rates, Instant::now());
        loop {
            let message = tokio::select! {
                message = self.line.receiver.recv() => message?,
                orders = self.line.mailbox.next() => {
                    return self.obey(orders);
                }
            };
            let Some(message) = message else { return Ok(()) };
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
            Step::Say(text) => {
                let room: &Room = place.room();
                room.hub().ready().await;
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
                self.line.sender.close(frame.ok())?;
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
        self.line.sender.close(frame)
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
                self.line.sender.close(frame)?;
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
