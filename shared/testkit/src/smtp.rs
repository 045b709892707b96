//! A mail server that keeps what it is sent, and refuses or hangs when it is told to (RFC 5321, RFC 3207).
use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

/// A mail server of a test. Dropping it closes its port; mails under way are cut off.
#[derive(Debug)]
pub struct Smtp {
    address: SocketAddr,
    certificate: Option<String>,
    shared: Arc<Shared>,
    listener: AbortHandle,
}

/// One mail that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The sender of the envelope.
    pub from: String,
    /// The recipients of the envelope.
    pub to: Vec<String>,
    /// Header and body as they came, without the dots of SMTP, with `\n` at the line ends.
    pub text: String,
    /// Whether it came over TLS.
    pub encrypted: bool,
}

/// What the server says to a mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// `250`.
    #[default]
    Accept,
    /// `MAIL FROM` is refused with this line: `451 4.3.0 try later` is for now, `550 5.1.1 no such user` for good.
    RefuseSender(String),
    /// Each recipient is refused with this line.
    RefuseRecipient(String),
    /// The text is refused with this line after it was taken.
    RefuseText(String),
    /// The text is taken and kept, and then the connection closes without an answer.
    LoseAnswer,
    /// Nothing is said any more.
    Hang,
}

#[derive(Debug)]
struct Shared {
    mails: watch::Sender<Vec<Mail>>,
    answer: watch::Sender<Answer>,
}

impl Smtp {
    /// A server that speaks plainly.
    pub async fn start() -> Smtp {
        Self::listen(None).await
    }

    /// A server that insists on `STARTTLS`, with a certificate for `localhost` and `127.0.0.1` that only
    /// [`Smtp::certificate`] vouches for.
    pub async fn start_tls() -> Smtp {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("a certificate is made");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("its key is its own");
        Self::listen(Some((TlsAcceptor::from(Arc::new(tls)), cert.pem()))).await
    }

    async fn listen(tls: Option<(TlsAcceptor, String)>) -> Smtp {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (acceptor, certificate) = tls.unzip();
        let (mails, answer) = (watch::Sender::default(), watch::Sender::default());
        let shared = Arc::new(Shared { mails, answer });
        let serving = shared.clone();
        let listener = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, acceptor.clone(), serving.clone()));
            }
        });
        Smtp { address, certificate, shared, listener: listener.abort_handle() }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate to trust, in PEM, where it speaks TLS.
    pub fn certificate(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Says `answer` to each mail from now on.
    pub fn answer(&self, answer: Answer) {
        self.shared.answer.send_replace(answer);
    }

    /// The mails so far, in the order in which they came.
    pub fn mails(&self) -> Vec<Mail> {
        self.shared.mails.borrow().clone()
    }

    /// Waits until there are `count` mails, which a test does not expect to take longer than `within`.
    pub async fn wait_for(&self, count: usize, within: Duration) -> Vec<Mail> {
        let mut mails = self.shared.mails.subscribe();
        let came = tokio::time::timeout(within, mails.wait_for(|mails| mails.len() >= count)).await;
        match came {
            Ok(Ok(mails)) => mails.clone(),
            _ => panic!("{} of {count} mails came within {within:?}", self.mails().len()),
        }
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Mail {
    /// The value of a header, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.text.split("\n\n").next()?.replace("\n ", " ").replace("\n\t", " ");
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// What comes after the headers.
    pub fn body(&self) -> &str {
        self.text.split_once("\n\n").map_or("", |(_, body)| body)
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, shared: Arc<Shared>) -> io::Result<()> {
    let mut plain = Session::new(stream, tls.is_some(), false, &shared);
    plain.say("220 localhost ESMTP").await?;
    let End::StartTls = plain.converse().await? else { return Ok(()) };
    let Some(tls) = tls else { return Ok(()) };
    // What was read ahead of the handshake is dropped with its buffer, as RFC 3207 wants.
    let stream = tls.accept(plain.stream.into_inner()).await?;
    Session::new(stream, false, true, &shared).converse().await?;
    Ok(())
}

struct Session<'s, S> {
    stream: BufReader<S>,
    /// Whether nothing but `STARTTLS` is accepted.
    wants_tls: bool,
    encrypted: bool,
    shared: &'s Shared,
}

enum End {
    Quit,
    StartTls,
}

impl<'s, S: AsyncRead + AsyncWrite + Unpin> Session<'s, S> {
    fn new(stream: S, wants_tls: bool, encrypted: bool, shared: &'s Shared) -> Self {
        Session { stream: BufReader::new(stream), wants_tls, encrypted, shared }
    }

    async fn converse(&mut self) -> io::Result<End> {
        let (mut from, mut to) = (String::new(), vec![]);
        while let Some(line) = self.line().await? {
            let verb = line.get(..4).unwrap_or(&line).to_ascii_uppercase();
            let answer = self.shared.answer.borrow().clone();
            if answer == Answer::Hang {
                // Held open and silent until the other side gives up.
                while self.line().await?.is_some() {}
                return Ok(End::Quit);
            }
            match verb.as_str() {
                "EHLO" if self.wants_tls => self.say("250-localhost\r\n250 STARTTLS").await?,
                "EHLO" => self.say("250-localhost\r\n250 8BITMIME").await?,
                "HELO" | "NOOP" => self.say("250 localhost").await?,
                "STAR" if self.wants_tls => {
                    self.say("220 go ahead").await?;
                    return Ok(End::StartTls);
                }
                "QUIT" => {
                    self.say("221 bye").await?;
                    return Ok(End::Quit);
                }
                _ if self.wants_tls => self.say("530 5.7.0 must issue STARTTLS first").await?,
                "RSET" => {
                    (from, to) = (String::new(), vec![]);
                    self.say("250 forgotten").await?;
                }
                "MAIL" => {
                    if let Answer::RefuseSender(refusal) = answer {
                        self.say(&refusal).await?;
                        continue;
                    }
                    (from, to) = (path(&line), vec![]);
                    self.say("250 go on").await?;
                }
                "RCPT" => {
                    if let Answer::RefuseRecipient(refusal) = answer {
                        self.say(&refusal).await?;
                        continue;
                    }
                    to.push(path(&line));
                    self.say("250 go on").await?;
                }
                "DATA" if to.is_empty() => self.say("503 5.5.1 to whom").await?,
                "DATA" => {
                    self.say("354 end with a dot").await?;
                    let text = self.text().await?;
                    if let Answer::RefuseText(refusal) = answer {
                        self.say(&refusal).await?;
                        continue;
                    }
                    let (from, to) = (std::mem::take(&mut from), std::mem::take(&mut to));
                    let mail = Mail { from, to, text, encrypted: self.encrypted };
                    self.shared.mails.send_modify(|mails| mails.push(mail));
                    if answer == Answer::LoseAnswer {
                        return Ok(End::Quit);
                    }
                    self.say("250 2.0.0 kept").await?;
                }
                _ => self.say("502 5.5.2 not known here").await?,
            }
        }
        Ok(End::Quit)
    }

    async fn text(&mut self) -> io::Result<String> {
        let mut text = String::new();
        while let Some(line) = self.line().await? {
            if line == "." {
                return Ok(text);
            }
            // A dot at the start of a line was doubled for the way.
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
            text.push('\n');
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = vec![];
        let read = self.stream.read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line);
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }
}

/// What stands between the angle brackets.
fn path(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(path, _)| path.to_owned())
}
