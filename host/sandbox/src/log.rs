//! What an attempt writes: its log, standard output and standard error, line by line, bounded and harmless to a
//! terminal (S7).
//!
//! The first lines are kept, since they say how it began; once one does not fit, it is cut and the rest is counted.

use std::mem;

use stem_core::ids::EnvelopeId;
use stem_core::names::TaskName;
use stem_core::record::{LogLevel, LogLine};
use stem_core::units::ByteSize;

use crate::grants::masks::Masks;

/// What a line or a field costs beside its text, so that empty ones are bounded too.
const OVERHEAD: usize = 16;
/// Ends a line that was cut.
pub(crate) const CUT: &str = "… (cut)";
/// Bytes of a line of standard error that are looked at, also where the log has no room for it.
const LONGEST_SAYING: usize = 4 << 10;

/// The lines of one attempt.
#[derive(Debug)]
pub(crate) struct Log {
    id: EnvelopeId,
    task: TaskName,
    lines: Vec<LogLine>,
    room: usize,
    dropped: u64,
    masks: Masks,
    stdout: Partial,
    stderr: Partial,
    last_error_line: Option<String>,
}

/// A line that has not ended yet.
#[derive(Debug, Default)]
struct Partial {
    bytes: Vec<u8>,
    is_cut: bool,
}

/// Standard output or standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Log {
    /// An empty log with room for so many bytes.
    pub(crate) fn new(id: EnvelopeId, task: TaskName, room: ByteSize) -> Self {
        Self {
            id,
            task,
            lines: Vec::new(),
            room: room.as_usize(),
            dropped: 0,
            masks: Masks::default(),
            stdout: Partial::default(),
            stderr: Partial::default(),
            last_error_line: None,
        }
    }

    /// The same, which shows no secret.
    pub(crate) fn hiding(mut self, masks: Masks) -> Self {
        self.masks = masks;
        self
    }

    /// Takes bytes of a stream; lines are kept as they end.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let mut pieces = bytes.split(|byte| *byte == b'\n');
        let last = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            self.extend(stream, piece);
            self.end_line(stream);
        }
        self.extend(stream, last);
    }

    fn extend(&mut self, stream: Stream, piece: &[u8]) {
        let room = match stream {
            Stream::Stdout => self.room,
            Stream::Stderr => self.room.max(LONGEST_SAYING),
        };
        let partial = self.partial(stream);
        let fits = piece.len().min(room.saturating_sub(partial.bytes.len()));
        partial.bytes.extend_from_slice(&piece[..fits]);
        partial.is_cut |= fits < piece.len();
    }

    fn end_line(&mut self, stream: Stream) {
        let Partial { mut bytes, is_cut } = mem::take(self.partial(stream));
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let level = match stream {
            Stream::Stdout => LogLevel::Stdout,
            Stream::Stderr => LogLevel::Stderr,
        };
        let message = escape(&String::from_utf8_lossy(&bytes));
        if stream == Stream::Stderr && !message.trim().is_empty() {
            self.last_error_line = Some(self.saying(&message, is_cut));
        }
        match is_cut {
            true => self.keep_cut(level, &message),
            false => self.keep(level, message, Vec::new()),
        }
    }

    /// A line as a failure may have it in its message: cut where it is long, and without secrets.
    fn saying(&self, line: &str, is_cut: bool) -> String {
        let mut saying = line.to_owned();
        match is_cut && line.len() <= LONGEST_SAYING {
            true => saying.push_str(CUT),
            false => cut(&mut saying, LONGEST_SAYING),
        }
        self.masks.hide(&mut saying);
        saying
    }

    fn partial(&mut self, stream: Stream) -> &mut Partial {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Takes a line of the guest's log.
    pub(crate) fn emit(&mut self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        // Escaping makes a text up to ten times as long: what cannot fit is not escaped as a whole.
        if cost(message, fields) > self.room {
            let head = &message[..message.floor_char_boundary(self.room)];
            return self.keep_cut(level, &escape(head));
        }
        let escaped = |(name, value): &(String, String)| (escape(name), escape(value));
        let fields = fields.iter().map(escaped).collect();
        self.keep(level, escape(message), fields);
    }

    fn keep(&mut self, level: LogLevel, message: String, fields: Vec<(String, String)>) {
        let cost = cost(&message, &fields);
        if cost > self.room {
            return self.keep_cut(level, &message);
        }
        self.room -= cost;
        self.push(level, message, fields);
    }

    /// Keeps what there is room for of a line's message: nothing comes after it.
    fn keep_cut(&mut self, level: LogLevel, message: &str) {
        self.dropped += 1;
        if self.room > 0 {
            let room = mem::take(&mut self.room).saturating_sub(OVERHEAD);
            let kept = &message[..message.floor_char_boundary(room)];
            self.push(level, format!("{kept}{CUT}"), Vec::new());
        }
    }

    fn push(&mut self, level: LogLevel, mut message: String, mut fields: Vec<(String, String)>) {
        self.masks.hide(&mut message);
        self.masks.hide_in_pairs(&mut fields);
        tracing::debug!(
            target: "stem::guest",
            id = %self.id,
            task = %self.task,
            level = level.as_str(),
            "{message}"
        );
        self.lines.push(LogLine {
            level,
            message,
            fields,
        });
    }

    /// The last line of standard error that is not empty, kept or not; to be asked after `finish`.
    pub(crate) fn last_error_line(&mut self) -> Option<String> {
        self.last_error_line.take()
    }

    /// The lines that were kept, and how many were not, or not wholly.
    pub(crate) fn finish(&mut self) -> (Vec<LogLine>, u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.partial(stream).bytes.is_empty() {
                self.end_line(stream);
            }
        }
        (mem::take(&mut self.lines), mem::take(&mut self.dropped))
    }
}

fn cost(message: &str, fields: &[(String, String)]) -> usize {
    let of_field = |(name, value): &(String, String)| OVERHEAD + name.len() + value.len();
    OVERHEAD + message.len() + fields.iter().map(of_field).sum::<usize>()
}

/// The text without what could move a terminal's cursor or turn the direction of writing.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn is_harmful(character: char) -> bool {
    let turns_direction = matches!(character,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns_direction || (character.is_control() && character != '\t')
}

/// Cuts the text to so many bytes, and says so.
pub(crate) fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push_str(CUT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stem_core::secrets::Secret;

    fn log(room: u64) -> Log {
        let task = TaskName::new("t").expect("a good name");
        Log::new(EnvelopeId::new(), task, ByteSize(room))
    }

    fn messages(log: &mut Log) -> Vec<String> {
        let (lines, _) = log.finish();
        lines.into_iter().map(|line| line.message).collect()
    }

    /// S7
    #[test]
    fn a_line_is_kept_when_it_ends_and_the_last_one_without_an_end() {
        let mut log = log(1_000);
        log.write(Stream::Stdout, b"one\r\ntw");
        log.write(Stream::Stderr, b"between\n");
        log.write(Stream::Stdout, b"o\n\nlast");
        assert_eq!(messages(&mut log), ["one", "between", "two", "", "last"]);
    }

    /// S7
    #[test]
    fn control_characters_are_escaped() {
        let mut log = log(1_000);
        log.write(Stream::Stdout, b"\x1b[2J\tred\xff\n");
        log.emit(LogLevel::Info, "a\nb\u{202e}", &[]);
        assert_eq!(
            messages(&mut log),
            ["\\u{1b}[2J\tred\u{fffd}", "a\\nb\\u{202e}"]
        );
    }

    /// S7
    #[test]
    fn what_does_not_fit_is_cut_and_counted() {
        let mut log = log(60);
        log.write(Stream::Stdout, b"0123456789\n");
        log.write(Stream::Stdout, &[b'x'; 5_000]);
        log.write(Stream::Stdout, b"\nnever seen\n");
        log.emit(LogLevel::Error, "nor this", &[]);
        let (lines, dropped) = log.finish();
        assert_eq!((lines.len(), dropped), (2, 3));
        assert!(lines[1].message.starts_with("xxx") && lines[1].message.ends_with(CUT));
        assert!(lines[1].message.len() < 60, "{}", lines[1].message);
    }

    /// S7
    #[test]
    fn a_line_with_fields_is_kept_whole_or_cut() {
        let mut log = log(200);
        let fields = |value: &str| vec![("na\u{7}me".to_owned(), value.to_owned())];
        log.emit(LogLevel::Info, "fits", &fields("5"));
        log.emit(LogLevel::Info, "does not", &fields(&"x".repeat(200)));
        let (lines, dropped) = log.finish();
        assert_eq!(lines[0].fields, [("na\\u{7}me".to_owned(), "5".to_owned())]);
        assert_eq!(lines[1].message, format!("does not{CUT}"));
        assert_eq!((lines.len(), lines[1].fields.len(), dropped), (2, 0, 1));
    }

    /// S7
    #[test]
    fn empty_lines_are_bounded_too() {
        let mut log = log(64 << 10);
        log.write(Stream::Stderr, &[b'\n'; 1 << 20]);
        let (lines, dropped) = log.finish();
        assert_eq!(lines.len(), 4_096);
        assert_eq!(dropped, (1 << 20) - 4_096);
    }

    /// S9, M4: also where the log has no room for it.
    #[test]
    fn the_last_line_of_standard_error_is_bounded_and_shows_no_secret() {
        let secret = Secret::new("hunter2");
        let mut log = log(16).hiding(Masks::of([secret].iter()));
        log.write(Stream::Stderr, b"first\nstem: retry-after 3 hunter2\n \n");
        log.finish();
        let last = log.last_error_line();
        assert_eq!(last.as_deref(), Some("stem: retry-after 3 ***"));
        log.write(Stream::Stderr, &[b'x'; LONGEST_SAYING - 3]);
        log.write(Stream::Stderr, b"hunter2");
        log.finish();
        let cut = log.last_error_line().expect("a line");
        assert!(cut.ends_with(&format!("xx***{CUT}")), "{}", &cut[4_000..]);
    }
}
