//! The end of a conversation: what was typed is delivered first, and what wasn't is said.

use std::time::Duration;

use tokio::time::Instant;

use crate::net::reconnecting::{Cause, Ended};
use crate::proto::{CloseCode, CloseFrame};

use super::super::TalkError;
use super::super::form::Form;
use super::super::lines;
use super::Talk;

/// How far we are with ending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Not,
    /// Until everything is delivered, or until then while there is a connection.
    Delivering {
        until: Instant,
        wait: Duration,
    },
    /// The rest is received until then.
    Receiving {
        until: Instant,
    },
    /// A Close is sent.
    Closing,
}

/// How long a server may take to acknowledge the last texts.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(10);

impl Talk<'_> {
    /// Begins to end it; what still comes is shown for `wait`.
    pub(super) fn end(&mut self, wait: Duration) {
        let until = Instant::now() + ACKNOWLEDGE_TIMEOUT;
        match self.ending {
            Ending::Not => self.ending = Ending::Delivering { until, wait },
            // Whoever asks twice is in a hurry.
            _ if self.screen.is_terminal() => self.close(),
            _ => {}
        }
        // A person doesn't wait for a connection that may never come.
        if self.screen.is_terminal() && !self.client.is_connected() {
            self.close();
        }
    }

    pub(super) fn go_on_ending(&mut self) {
        let now = Instant::now();
        if let Ending::Delivering { until, wait } = self.ending {
            let is_delivered = match &self.form {
                Form::Chat(chat) => chat.outbox().len() == 0,
                _ => self.client.queued_messages() == 0,
            };
            if is_delivered || (now >= until && self.client.is_connected()) {
                self.ending = Ending::Receiving { until: now + wait };
            }
        }
        if let Ending::Receiving { until } = self.ending
            && now >= until
        {
            self.close();
        }
    }

    pub(super) fn close(&mut self) {
        self.ending = Ending::Closing;
        self.client.begin_close(CloseFrame::from(CloseCode::NORMAL));
    }

    /// It is over: says why, and what wasn't delivered.
    pub(super) async fn finish(mut self, ended: Option<&Ended>) -> Result<(), TalkError> {
        self.refresh().await?;
        let is_connected_end = self.ending != Ending::Closing || !self.is_out;
        let cause = ended.map(Ended::cause).or_else(|| self.client.last_cause().filter(|_| is_connected_end));
        let result = match cause {
            Some(Cause::Connect(error)) => {
                Err(TalkError::Connect(self.url.clone(), lines::inline(&error.to_string())))
            }
            Some(Cause::Failed(error)) => Err(TalkError::Lost(error.to_string())),
            Some(Cause::Closed(Some(frame)))
                if !matches!(frame.code(), CloseCode::NORMAL | CloseCode::GOING_AWAY) =>
            {
                Err(TalkError::Closed(frame.clone()))
            }
            _ => Ok(()),
        };
        let how = match (cause, &result) {
            (Some(Cause::Connect(_)), _) => None,
            (_, Err(TalkError::Lost(error))) => Some(error.clone()),
            (Some(Cause::Closed(Some(frame))), _) => Some(format!("closed with {frame}")),
            _ => Some("closed without a code".to_owned()),
        };
        let undelivered = match &self.form {
            Form::Chat(chat) => {
                // Who looks on has seen what was refused.
                let refused = if self.screen.is_terminal() { 0 } else { chat.refused() };
                chat.outbox().len() + refused
            }
            _ => self.client.queued_messages(),
        };
        let (flags, refused) = (self.flags, self.name_refused.take());
        // The terminal is given back first.
        drop(self);
        if let (true, Some(how)) = (flags.verbose, how) {
            eprintln!("ended: {}", lines::inline(&how));
        }
        if let Some(name) = refused {
            return Err(TalkError::NameRefused(name));
        }
        result?;
        if undelivered == 0 { Ok(()) } else { Err(TalkError::Undelivered(undelivered)) }
    }
}
