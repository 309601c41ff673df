//! A conversation: a connection that comes and goes, somebody who types, and the form in which both are put.

mod ending;
mod entering;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::chat::wire::client::News;
use crate::chat::wire::json::{Request, SUBPROTOCOL};
use crate::chat::wire::plain;
use crate::net::reconnecting::{Cause, Ended, Event, Options, Verdict};
use crate::net::{Connector, Reconnecting};
use crate::proto::Message;

use super::conversation::{Conversation, Stage};
use super::form::{ANSWER_TIMEOUT, Form, Plain, WELCOME_TIMEOUT};
use super::outbox::{MAX_BYTES, MAX_TEXTS};
use super::show::{Format, Screen, Shown};
use super::{Flags, TalkError, lines};
use ending::Ending;

/// A conversation.
pub(super) struct Talk<'a> {
    flags: &'a Flags,
    url: String,
    client: Reconnecting,
    form: Form,
    screen: Screen,
    /// Whether we have offered the JSON form on our own account.
    has_offered: bool,
    /// Until when the server has to have answered a hello.
    welcome_by: Option<Instant>,
    ending: Ending,
    /// Whether the connection is gone and will be back.
    is_out: bool,
    /// Whether somebody waits for the next heartbeat's time.
    wants_round_trip: bool,
    name_refused: Option<String>,
    /// Whether the server still holds our name for a connection that is gone.
    is_name_held: Arc<AtomicBool>,
}

/// How long it takes to ask again for a name that the server still holds for us.
const NAME_RETRY: Duration = Duration::from_secs(3);

/// How often it is looked whether a heartbeat was answered that somebody waits for.
const ROUND_TRIP_LOOK: Duration = Duration::from_millis(100);

impl<'a> Talk<'a> {
    pub(super) fn new(flags: &'a Flags, url: String, screen: Screen) -> Self {
        let has_offered = flags.offers_json(screen.is_terminal());
        let is_name_held = Arc::new(AtomicBool::new(false));
        let client = connect(flags, &url, (screen.is_terminal(), has_offered), &is_name_held);
        Self {
            flags,
            url,
            client,
            form: Form::Unknown,
            screen,
            has_offered,
            welcome_by: None,
            ending: Ending::Not,
            is_out: false,
            wants_round_trip: false,
            name_refused: None,
            is_name_held,
        }
    }

    /// Talks until one side ends it.
    pub(super) async fn run(mut self) -> Result<(), TalkError> {
        #[cfg(unix)]
        let mut signals =
            self.screen.is_terminal().then(super::super::Signals::catch).transpose().ok().flatten();
        loop {
            self.refresh().await?;
            #[cfg(unix)]
            let stopped = async {
                match &mut signals {
                    Some(signals) => signals.stopped().await,
                    None => std::future::pending().await,
                }
            };
            #[cfg(not(unix))]
            let stopped = std::future::pending::<()>();
            let (takes_input, deadline) = (self.takes_input(), self.deadline());
            let at = deadline.unwrap_or_else(Instant::now);
            tokio::select! {
                event = self.client.recv() => match event {
                    Ok(Some(event)) => self.on_event(event).await?,
                    Ok(None) => return self.finish(None).await,
                    Err(ended) if self.falls_back(&ended) => self.speak_plainly().await?,
                    Err(ended) => return self.finish(Some(&ended)).await,
                },
                entered = self.screen.next(), if takes_input => self.on_entered(entered?).await?,
                () = tokio::time::sleep_until(at), if deadline.is_some() => self.on_deadline().await?,
                () = stopped => self.end(Duration::ZERO),
            }
        }
    }

    /// What follows from whatever happened last: what the form has to say, the prompt, the next step of the end.
    async fn refresh(&mut self) -> Result<(), TalkError> {
        if let Form::Chat(chat) = &mut self.form {
            let (requests, shown) = (chat.take_requests(), chat.take_shown());
            for request in requests {
                let message = request.encode();
                let sent = match request {
                    Request::Hello(_) => self.client.send_first(message).await,
                    _ => self.client.send(message).await,
                };
                // Whatever the connection's end takes with it is sent again.
                drop(sent);
            }
            let is_json = self.flags.format() != Format::Text;
            for shown in shown {
                // The message itself was shown already.
                if !is_json || matches!(shown, Shown::Note(_) | Shown::Alarm(_)) {
                    self.screen.show(&shown).await?;
                }
            }
        }
        if self.wants_round_trip {
            self.tell_round_trip().await?;
        }
        self.go_on_ending();
        if let Some(words) = self.form.new_words() {
            self.screen.set_words(words);
        }
        self.screen.set_prompt(&self.form.prompt(self.client.is_connected()))
    }

    /// Whether what is typed can be taken: a terminal's always, a pipe's once there is room for it.
    fn takes_input(&self) -> bool {
        if self.screen.is_terminal() {
            return self.ending != Ending::Closing;
        }
        let is_free = match &self.form {
            Form::Unknown => false,
            Form::Plain(plain) => plain.answer_by.is_none(),
            Form::Chat(chat) => chat.is_known() && !chat.outbox().is_busy(),
        };
        self.ending == Ending::Not && is_free && self.has_room()
    }

    /// Whether more may wait to be sent.
    fn has_room(&self) -> bool {
        self.client.queued_messages() < MAX_TEXTS && self.client.queued_bytes() < MAX_BYTES
    }

    async fn on_event(&mut self, event: Event) -> Result<(), TalkError> {
        match event {
            Event::Connected { response, .. } => {
                let negotiated = self.client.negotiated().cloned().unwrap_or_default();
                if self.flags.verbose {
                    let answer = format!("connected: {} {}", response.status(), lines::describe(&negotiated));
                    self.tell(answer).await?;
                }
                self.on_connected(negotiated.subprotocol.as_deref()).await
            }
            Event::Message(message) => self.on_message(message).await,
            Event::Disconnected { cause, retry_in, .. } => self.on_disconnected(&cause, retry_in).await,
        }
    }

    async fn on_connected(&mut self, subprotocol: Option<&str>) -> Result<(), TalkError> {
        let was_out = std::mem::take(&mut self.is_out);
        if let (Some(SUBPROTOCOL), Some(name)) = (subprotocol, &self.flags.name) {
            if !matches!(self.form, Form::Chat(_)) {
                self.form = Form::Chat(Box::new(Conversation::new(name, self.flags.path_room(&self.url))));
            }
            if let Form::Chat(chat) = &mut self.form {
                chat.on_connected();
            }
            self.welcome_by = Some(Instant::now() + WELCOME_TIMEOUT);
            return Ok(());
        }
        if let Form::Chat(chat) = &self.form
            && chat.outbox().len() > 0
        {
            let why = format!("{} texts were not delivered: this server is another now", chat.outbox().len());
            self.screen.show(&Shown::Alarm(why)).await?;
        }
        if !matches!(self.form, Form::Plain(_)) {
            self.form = Form::Plain(Plain::new(self.flags.name.clone()));
        }
        self.introduce().await;
        if was_out {
            self.screen.show(&Shown::Note("back again".to_owned())).await?;
        }
        Ok(())
    }

    /// Gives the name, behind which everything waits for the answer.
    async fn introduce(&mut self) {
        if let Form::Plain(plain) = &mut self.form
            && let Some(name) = &plain.name
        {
            // If the connection ends meanwhile, the next event says so.
            let _ = self.client.send_first(name.as_str()).await;
            self.client.hold_queue();
            plain.answer_by = Some(Instant::now() + ANSWER_TIMEOUT);
            plain.again_at = None;
        }
    }

    async fn on_message(&mut self, message: Message) -> Result<(), TalkError> {
        let format = self.flags.format();
        match &mut self.form {
            Form::Chat(chat) => {
                let news = message.as_text().and_then(News::parse);
                if self.welcome_by.take().is_some()
                    && !chat.is_known()
                    && !matches!(news, Some(News::Welcome { .. } | News::Error { .. }))
                {
                    return self.speak_plainly().await;
                }
                if format != Format::Text {
                    self.screen.message(&message, format).await?;
                }
                if let Some(news) = news {
                    chat.on_news(news);
                }
                if chat.stage() == Stage::Nameless && !self.screen.is_terminal() {
                    self.name_refused = Some(chat.name().to_owned());
                    self.close();
                }
                Ok(())
            }
            Form::Plain(plain) => {
                let is_answer = plain.answer_by.take().is_some();
                let text = message.as_text().unwrap_or_default();
                plain.on_text(text);
                let is_refused = is_answer && plain::is_error(text);
                let name = plain.name.clone();
                self.screen.message(&message, format).await?;
                if is_refused {
                    return self.on_name_refused(name.unwrap_or_default()).await;
                }
                if is_answer {
                    self.is_name_held.store(false, Ordering::Relaxed);
                    self.client.release_queue();
                }
                Ok(())
            }
            Form::Unknown => Ok(()),
        }
    }

    /// Who reads a refusal on a terminal can type another name; but what was typed before must not become one.
    async fn on_name_refused(&mut self, name: String) -> Result<(), TalkError> {
        if let Form::Plain(plain) = &mut self.form
            && plain.is_known
        {
            // The server doesn't know yet that our last connection is gone, and holds the name for it.
            plain.again_at = Some(Instant::now() + NAME_RETRY);
            self.is_name_held.store(true, Ordering::Relaxed);
            return self.screen.show(&Shown::Note("the name is still ours: waiting for it".to_owned())).await;
        }
        let unsent = self.client.take_queued().len();
        if !self.screen.is_terminal() {
            self.name_refused = Some(name);
            self.close();
            return Ok(());
        }
        if let Form::Plain(plain) = &mut self.form {
            plain.name = None;
        }
        self.client.release_queue();
        if unsent > 0 {
            let why = format!("{unsent} texts were not sent, since they came after the name");
            self.screen.show(&Shown::Alarm(why)).await?;
        }
        self.screen.show(&Shown::Note("type another name".to_owned())).await
    }

    async fn on_disconnected(&mut self, cause: &Cause, retry_in: Duration) -> Result<(), TalkError> {
        match &mut self.form {
            Form::Chat(chat) => chat.on_disconnected(),
            Form::Plain(plain) => (plain.answer_by, plain.again_at) = (None, None),
            Form::Unknown => {}
        }
        (self.welcome_by, self.wants_round_trip) = (None, false);
        let what = match (cause, self.is_out) {
            (Cause::Connect(_), true) => "still no connection",
            (Cause::Connect(_), false) => "can't connect",
            _ => "connection lost",
        };
        self.is_out = !matches!(self.form, Form::Unknown);
        let why = match cause {
            Cause::Connect(error) => error.to_string(),
            cause => cause.to_string(),
        };
        // What is said already isn't said again.
        let known = ["the connection was lost: ", "the connection failed: "];
        let why = known.iter().find_map(|known| why.strip_prefix(known)).unwrap_or(&why);
        let seconds = retry_in.as_secs_f64().ceil().max(1.0);
        self.screen.show(&Shown::Note(format!("{what}: {why}; again in {seconds} s"))).await
    }

    /// The server doesn't know the JSON form, whatever it said: begins again without it.
    async fn speak_plainly(&mut self) -> Result<(), TalkError> {
        self.tell("this server doesn't speak the chat's JSON form: plain text from here".to_owned()).await?;
        self.has_offered = false;
        self.welcome_by = None;
        self.form = Form::Unknown;
        self.client = connect(self.flags, &self.url, (self.screen.is_terminal(), false), &self.is_name_held);
        Ok(())
    }

    /// Whether a refusal may be of what we have offered on our own account.
    fn falls_back(&self, ended: &Ended) -> bool {
        let is_first = matches!(self.form, Form::Unknown);
        let is_refusal = ended.cause().status() == Some(http::StatusCode::BAD_REQUEST);
        self.has_offered && is_first && is_refusal
    }

    /// Says how it is, to who wants to know.
    async fn tell(&mut self, text: String) -> Result<(), TalkError> {
        if self.screen.is_terminal() {
            return self.screen.show(&Shown::Note(text)).await;
        }
        if self.flags.verbose {
            eprintln!("{text}");
        }
        Ok(())
    }

    /// When something has to happen by itself.
    fn deadline(&self) -> Option<Instant> {
        let answer = match &self.form {
            Form::Plain(plain) => plain.answer_by.or(plain.again_at),
            _ => None,
        };
        let ending = match self.ending {
            Ending::Delivering { until, .. } if self.client.is_connected() => Some(until),
            Ending::Receiving { until } => Some(until),
            _ => None,
        };
        let look = self.wants_round_trip.then(|| Instant::now() + ROUND_TRIP_LOOK);
        [answer, ending, look, self.welcome_by].into_iter().flatten().min()
    }

    async fn on_deadline(&mut self) -> Result<(), TalkError> {
        let now = Instant::now();
        if self.welcome_by.is_some_and(|by| now >= by) {
            self.welcome_by = None;
            if matches!(&self.form, Form::Chat(chat) if !chat.is_known()) {
                return self.speak_plainly().await;
            }
        }
        if let Form::Plain(plain) = &mut self.form
            && plain.answer_by.is_some_and(|by| now >= by)
        {
            plain.answer_by = None;
            self.client.release_queue();
        }
        if matches!(&self.form, Form::Plain(plain) if plain.again_at.is_some_and(|at| now >= at)) {
            self.introduce().await;
        }
        Ok(())
    }
}

/// A client that comes back, if the user wants that and it was there before.
fn connect(
    flags: &Flags,
    url: &str,
    (is_terminal, offers_json): (bool, bool),
    is_name_held: &Arc<AtomicBool>,
) -> Reconnecting {
    let is_name_held = is_name_held.clone();
    let mut options = Options::default();
    let (reconnects, from_the_start) = (is_terminal || flags.reconnect, flags.reconnect);
    // What waits is bounded before it comes here: by `has_room` and by the outbox.
    options.max_queued_bytes = usize::MAX;
    options.max_queued_messages = usize::MAX;
    let was_connected = Arc::new(AtomicBool::new(from_the_start));
    options.classify = Arc::new(move |cause| {
        let is_connected = !matches!(cause, Cause::Connect(_));
        let may_retry = was_connected.fetch_or(is_connected, Ordering::Relaxed) || is_connected;
        match cause {
            Cause::Closed(_) if !reconnects => Verdict::End,
            _ if !reconnects || !may_retry => Verdict::Fail,
            // Whoever took our session over would lose it to us again.
            cause if cause.close_code().is_some_and(|code| code.get() == TAKEN_OVER) => Verdict::Fail,
            // Three times refused, closed with 1008: but the name will be ours again.
            _ if is_name_held.load(Ordering::Relaxed) => Verdict::Retry,
            cause => cause.verdict(),
        }
    });
    Reconnecting::with_options(Connector::new(flags.config(is_terminal, offers_json)), url, options)
}

/// The code of a Close because another connection took the session over.
const TAKEN_OVER: u16 = 4409;
