//! Hello: who somebody is, and which session they go on with.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::chat::name::UserName;
use crate::chat::room::Contact;
use crate::chat::sessions::Held;
use crate::chat::wire::json::{Code, Credentials, Failure, Hello, Request};
use crate::net::Error;
use crate::proto::{CloseCode, CloseFrame};

use super::super::super::auth::Action;
use super::super::access::Rights;
use super::super::{Chat, NAME_TIMEOUT};
use super::{User, failure, not_text};

/// Somebody who said a hello that can be had.
pub(super) struct Admitted {
    pub(super) hello: Hello,
    pub(super) name: UserName,
    pub(super) session: Credentials,
    /// What there is of their session.
    pub(super) held: Option<Held>,
}

/// How many hellos may be refused.
const MAX_HELLOS: u32 = 3;

impl User {
    /// Waits for a hello that can be had; `None` if the connection ends before.
    pub(super) async fn greet(&mut self, chat: &Chat) -> Result<Option<Admitted>, Error> {
        let deadline = Instant::now() + NAME_TIMEOUT;
        for _ in 0..MAX_HELLOS {
            let Ok(message) = timeout_at(deadline, self.line.receiver.recv()).await else {
                let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "no hello came in time");
                self.line.close(frame.ok())?;
                return Ok(None);
            };
            let Some(message) = message? else { return Ok(None) };
            let Some(text) = message.as_text() else {
                self.line.close(not_text())?;
                return Ok(None);
            };
            let failure = match Request::parse(text) {
                Ok(Request::Hello(hello)) => match self.admit(chat, hello).await {
                    Ok(admitted) => return Ok(Some(admitted)),
                    Err(failure) => failure,
                },
                Ok(request) => {
                    let why = "say hello first: {\"type\":\"hello\",\"name\":\"…\"}";
                    failure(&request, Code::HelloFirst, why)
                }
                Err(failure) => failure,
            };
            self.line.sender.send_prepared(&failure.encode()).await?;
        }
        let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "three hellos were refused");
        self.line.close(frame.ok())?;
        Ok(None)
    }

    /// Finds out who it is, and takes over what there is of their session.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe: dropped it leaves the session taken over, by nobody.
    async fn admit(&mut self, chat: &Chat, hello: Hello) -> Result<Admitted, Failure> {
        let wrong =
            |code, message: String| Failure { id: None, room: None, code, message, retry_after: None };
        if let Some(token) = &hello.token {
            let rights = chat.settings.auth.verify(token);
            self.rights = rights.map_err(|error| wrong(Code::Unauthorized, error.to_string()))?;
        }
        if matches!(self.rights, Rights::Unknown) {
            let why = "this server wants to know who you are: put your `token` into the hello";
            return Err(wrong(Code::Unauthorized, why.to_owned()));
        }
        let name = match self.rights.name() {
            Some(name) => name.clone(),
            None => UserName::parse(hello.name.as_deref().unwrap_or_default())
                .map_err(|error| wrong(Code::NameInvalid, error.to_string()))?,
        };
        let ours = hello.session.clone().filter(|session| chat.sessions.verify(session));
        let session = ours.unwrap_or_else(|| chat.sessions.create());
        let contact: Arc<dyn Contact> = self.line.mailbox.clone();
        let held = chat.sessions.take_over(&session.id, &contact).await;
        // By another name it is somebody new; those who see the old one are told that it left.
        let held = held.filter(|held| held.name == name);
        // Who may not be there learns nothing of it.
        if held.is_none() && self.rights.may(Action::Join, &self.room) {
            // The name may be another's: said now, while the hello can be said again.
            let room = match chat.rooms.get(&self.room).await {
                Ok(room) => room,
                Err(error) => {
                    chat.sessions.end(&session.id, &contact);
                    return Err(wrong(Code::Unavailable, error.to_string()));
                }
            };
            if let Some((code, message, retry_after)) = room.objection(&name) {
                chat.sessions.end(&session.id, &contact);
                return Err(Failure { retry_after, ..wrong(code, message) });
            }
        }
        Ok(Admitted { hello, name, session, held })
    }
}
