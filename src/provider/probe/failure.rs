//! What a probe says when a server is not healthy.
//!
//! In: what was asked and what was seen, from `verdict`. Out: a kind for metrics and decisions, and a text for the user:
//! what was tried, what came of it, what to write. Fields in the text are values: who knows which version a user writes
//! names them. No text holds a header's value, a query or the body of an answer.

use super::Era;

/// Which class of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Endpoint, header or CA bundle cannot be used: nothing was sent.
    InvalidSpec,
    /// The name has no address.
    Unresolved,
    /// The address is never dialled.
    ForbiddenAddress,
    /// Nothing listens.
    Refused,
    /// The address cannot be reached.
    Unreachable,
    /// TLS fails.
    Tls,
    /// No answer in time.
    Timeout,
    /// More than a probe reads.
    TooLarge,
    /// The server speaks something else than HTTP/1.1.
    NotHttp,
    /// The connection was closed before the answer was whole.
    Closed,
    /// A redirect that is not followed.
    Redirect,
    /// 401 or 403.
    Unauthorized,
    /// 404, 410: another path, probably.
    NotFound,
    /// 405 to a POST.
    MethodNotAllowed,
    /// The server refuses the name it is called by.
    HostRefused,
    /// Too many requests.
    Throttled,
    /// Another status.
    Status,
    /// HTTP, but not MCP.
    NotMcp,
    /// MCP, but the handshake or `tools/list` was answered with an error.
    Protocol,
}

impl Kind {
    /// A fixed word for it, for metrics and reasons.
    pub fn word(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::Unresolved => "Unresolved",
            Self::ForbiddenAddress => "ForbiddenAddress",
            Self::Refused => "Refused",
            Self::Unreachable => "Unreachable",
            Self::Tls => "Tls",
            Self::Timeout => "Timeout",
            Self::TooLarge => "TooLarge",
            Self::NotHttp => "NotHttp",
            Self::Closed => "Closed",
            Self::Redirect => "Redirect",
            Self::Unauthorized => "Unauthorized",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::HostRefused => "HostRefused",
            Self::Throttled => "Throttled",
            Self::Status => "Status",
            Self::NotMcp => "NotMcp",
            Self::Protocol => "Protocol",
        }
    }
}

/// A field that a text names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Port of the container.
    Port,
    /// Path of the container.
    Path,
    /// Arguments of the container.
    Args,
    /// Endpoint of a remote provider.
    Endpoint,
    /// Headers of a remote provider.
    Headers,
    /// CA bundle of a remote provider.
    CaBundle,
    /// Time limit of a probe.
    Timeout,
}

impl Field {
    /// Its path in the stored version, v1beta1.
    pub fn hub(self) -> &'static str {
        match self {
            Self::Port => "spec.container.port",
            Self::Path => "spec.container.path",
            Self::Args => "spec.container.args",
            Self::Endpoint => "spec.remote.endpoint",
            Self::Headers => "spec.remote.headersFrom",
            Self::CaBundle => "spec.remote.caBundle",
            Self::Timeout => "spec.healthCheck.timeout",
        }
    }

    /// Where who writes v1alpha1 says the same.
    pub fn v1alpha1(self) -> &'static str {
        match self {
            Self::Port => "metadata.annotations[mcp-hangar.io/port]",
            Self::Path => "metadata.annotations[mcp-hangar.io/path]",
            Self::Args => "spec.args",
            Self::Endpoint => "spec.endpoint",
            Self::Headers => "spec.remote.headersFrom (of v1beta1)",
            Self::CaBundle => "spec.remote.caBundle (of v1beta1)",
            Self::Timeout => "spec.healthCheck.timeout",
        }
    }
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// As it is.
    Text(String),
    /// To be named in the user's version.
    Field(Field),
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Field> for Word {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

/// Why a server is not healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its class.
    pub kind: Kind,
    /// What was tried, such as `POST http://10.0.0.1:8080/mcp (server/discover, initialize)`.
    pub tried: String,
    /// What came of it.
    pub saw: String,
    /// What to write.
    pub advice: Vec<Word>,
    /// The eras in which it was asked, first to last.
    pub eras: Vec<Era>,
}

impl Failure {
    /// The whole text, with fields as `name` names them: [`Field::hub`] or [`Field::v1alpha1`].
    pub fn message(&self, name: impl Fn(Field) -> &'static str) -> String {
        let mut text = format!("{}: {}", self.tried, self.saw);
        if !self.advice.is_empty() {
            text.push_str("; ");
        }
        for word in &self.advice {
            match word {
                Word::Text(words) => text.push_str(words),
                Word::Field(field) => text.push_str(name(*field)),
            }
        }
        text
    }

    /// The fields that the text names.
    pub fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        self.advice.iter().filter_map(|word| match word {
            Word::Field(field) => Some(*field),
            Word::Text(_) => None,
        })
    }
}

/// A text of a server, made safe for one line: no control characters, at most `longest` characters.
pub(super) fn clean(text: &str, longest: usize) -> String {
    let hidden = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut out: String = text.chars().filter(|c| !hidden(c)).take(longest + 1).collect();
    if out.chars().count() > longest {
        out.pop();
        out.push('…');
    }
    out
}
