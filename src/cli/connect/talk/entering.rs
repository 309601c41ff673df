//! What is typed: commands are obeyed, texts sent, or kept for the next connection.

use std::time::Duration;

use crate::chat::wire::json::Request;
use crate::proto::{Message, Utf8Bytes};

use super::super::TalkError;
use super::super::command::{self, Entry};
use super::super::conversation::Stage;
use super::super::form::Form;
use super::super::outbox::MAX_TEXTS;
use super::super::show::{Entered, Format, Shown};
use super::Talk;

impl Talk<'_> {
    pub(super) async fn on_entered(&mut self, entered: Entered) -> Result<(), TalkError> {
        let line = match entered {
            Entered::End => {
                self.end(self.flags.wait);
                return Ok(());
            }
            Entered::Leave => {
                self.end(Duration::ZERO);
                return Ok(());
            }
            Entered::Line(line) => line,
        };
        if !self.screen.is_terminal() {
            if line.trim_ascii() == b"/quit" {
                self.end(Duration::ZERO);
                return Ok(());
            }
            return self.send_line(line).await;
        }
        if line.trim_ascii().is_empty() && !self.client.is_connected() {
            self.client.reconnect_now();
            return Ok(());
        }
        // What comes from the editor is text.
        let mut line = String::from_utf8_lossy(&line).into_owned();
        if matches!(self.form, Form::Chat(_)) {
            // A completed name leaves a blank.
            line.truncate(line.trim_end().len());
        }
        if matches!(&self.form, Form::Chat(chat) if chat.stage() == Stage::Nameless) && !line.starts_with('/')
        {
            if let Form::Chat(chat) = &mut self.form {
                chat.rename(&line);
            }
            return Ok(());
        }
        self.on_entry(Entry::parse(&line)).await
    }

    async fn on_entry(&mut self, entry: Entry) -> Result<(), TalkError> {
        match entry {
            Entry::Text(_) if matches!(self.form, Form::Unknown) => {
                let why = "not sent: there is no connection yet".to_owned();
                return self.screen.show(&Shown::Alarm(why)).await;
            }
            Entry::Text(text) => return self.send_line(text.into_bytes()).await,
            Entry::Quit => {
                self.end(Duration::ZERO);
                return Ok(());
            }
            Entry::Help => return self.screen.show(&Shown::Note(command::help())).await,
            Entry::Wrong(why) => return self.screen.show(&Shown::Alarm(why)).await,
            _ => {}
        }
        let Form::Chat(chat) = &mut self.form else {
            if entry == Entry::RoundTrip {
                return self.ask_round_trip().await;
            }
            let why = "this is for chat servers that speak Switchboard's JSON form, and needs a --name";
            return self.screen.show(&Shown::Alarm(why.to_owned())).await;
        };
        match entry {
            Entry::Who => chat.who(),
            Entry::Rooms => chat.list_rooms(),
            Entry::RoundTrip => chat.round_trip(),
            Entry::Join(room) => chat.join(&room),
            Entry::Leave(room) => chat.leave(room.as_deref()),
            _ => {}
        }
        Ok(())
    }

    async fn ask_round_trip(&mut self) -> Result<(), TalkError> {
        if !self.client.is_connected() {
            return self.screen.show(&Shown::Alarm("there is no connection".to_owned())).await;
        }
        self.wants_round_trip = true;
        self.tell_round_trip().await
    }

    /// Says how long the newest heartbeat took, once there was one.
    pub(super) async fn tell_round_trip(&mut self) -> Result<(), TalkError> {
        let Some(time) = self.client.round_trip_time() else { return Ok(()) };
        self.wants_round_trip = false;
        self.screen.show(&Shown::round_trip(time)).await
    }

    /// Sends a line, or keeps it for the next connection.
    async fn send_line(&mut self, mut line: Vec<u8>) -> Result<(), TalkError> {
        if !self.flags.binary && line.ends_with(b"\r") {
            line.pop();
        }
        let message = if self.flags.binary {
            Message::binary(line)
        } else {
            Message::Text(Utf8Bytes::try_from(line).map_err(|_| TalkError::NotText)?)
        };
        if let Form::Chat(chat) = &mut self.form {
            let text = message.as_text().unwrap_or_default();
            let request = (self.flags.format() == Format::Json).then(|| Request::parse(text).ok()).flatten();
            match request {
                Some(request) => chat.on_raw(request),
                None => chat.say_text(text),
            }
            return Ok(());
        }
        let is_person = self.screen.is_terminal();
        if is_person && !self.has_room() {
            let why = format!("not sent: {MAX_TEXTS} texts or 1 MiB wait to be sent already");
            return self.screen.show(&Shown::Alarm(why)).await;
        }
        // It takes everything unless it has ended, which is said elsewhere.
        let _ = self.client.send(message).await;
        if is_person && !self.client.is_connected() {
            let waiting = self.client.queued_messages();
            let note = format!("this waits for a connection ({waiting} of at most {MAX_TEXTS})");
            return self.screen.show(&Shown::Note(note)).await;
        }
        Ok(())
    }
}
