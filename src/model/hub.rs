//! Models from a Hugging Face hub, by way of the `hf-hub` client, kept in its cache layout.

use super::ModelError;
use super::folder::FILES;
use crate::config::ModelConfig;
use hf_hub::api::Progress;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo};
use indicatif::ProgressBar;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long the hub may be silent: the client itself would wait for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Folder of the repository `owner/name`, downloaded from `config.hub` unless it is in `config.cache_dir`
/// already: what is there is used as it is, and newer versions are not looked for. The environment variable
/// `HF_TOKEN` opens private repositories. Progress is shown on stderr where that is a terminal.
pub(super) fn fetch(repository: &str, config: &ModelConfig) -> Result<PathBuf, ModelError> {
    let hub = Hub {
        repository,
        address: config.hub.trim_end_matches('/'),
        cache_dir: &config.cache_dir,
    };
    hub.fetch(PATIENCE)
}

struct Hub<'a> {
    repository: &'a str,
    address: &'a str,
    cache_dir: &'a Path,
}

impl Hub<'_> {
    fn fetch(&self, patience: Duration) -> Result<PathBuf, ModelError> {
        if !is_repository(self.repository) {
            return Err(self.error("not of the form hub:owner/name".into(), false));
        }
        let cache = Cache::new(self.cache_dir.to_owned());
        if let Some(folder) = cached(&cache.model(self.repository.to_owned())) {
            return Ok(folder);
        }
        let api = ApiBuilder::from_cache(cache)
            .with_endpoint(self.address.to_owned())
            .with_token(std::env::var("HF_TOKEN").ok())
            .build()
            .map_err(|e| self.explain(e))?;
        let remote = api.model(self.repository.to_owned());

        let (alive, signs_of_life) = sync_channel(1);
        let download = thread::spawn(move || download(&remote, &alive));
        loop {
            match signs_of_life.recv_timeout(patience) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let problem = format!(
                        "{} has been silent for {patience:?}: try again later, or check model.hub",
                        self.address
                    );
                    return Err(self.error(problem, true));
                }
            }
        }
        match download.join() {
            Ok(Ok(Some(folder))) => Ok(folder),
            Ok(Ok(None)) => {
                Err(self.error("it changed while it was downloaded: try again".into(), true))
            }
            Ok(Err(e)) => Err(self.explain(e)),
            Err(_) => Err(self.error(self.no_hub("its answer makes no sense"), false)),
        }
    }

    fn error(&self, problem: String, retryable: bool) -> ModelError {
        ModelError::Hub {
            repository: self.repository.to_owned(),
            problem,
            retryable,
        }
    }

    fn no_hub(&self, why: &str) -> String {
        format!(
            "{} does not answer as a Hugging Face hub ({why}): check model.hub",
            self.address
        )
    }

    /// What to do about a failure. The client's HTTP library is not ours to name, so the status is read from
    /// its message.
    fn explain(&self, error: ApiError) -> ModelError {
        let message = error.to_string();
        let status = message
            .rsplit_once("http status: ")
            .and_then(|(_, status)| status.parse::<u16>().ok());
        let in_the_way = format!(
            "a download that was broken off is in the way: remove {}",
            self.cache_dir.display()
        );
        let (problem, retryable) = match (&error, status) {
            (_, Some(401 | 403 | 404)) => (
                format!(
                    "{} has no such model, or a file is missing in it, or it is private: check model.source, set HF_TOKEN for a private one",
                    self.address
                ),
                false,
            ),
            (ApiError::InvalidResume, _) | (_, Some(416)) => (in_the_way, false),
            (ApiError::RequestError(_), _) => {
                let refused =
                    matches!(status, Some(400..500)) && !matches!(status, Some(408 | 429));
                (
                    format!(
                        "{}: {message}: check model.hub and the network, or copy the model into a folder",
                        self.address
                    ),
                    !refused,
                )
            }
            (ApiError::LockAcquisition(_), _) => (
                "another process is downloading it: try again when it is done".into(),
                true,
            ),
            (ApiError::IoError(e), _) => {
                use ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull};
                let disk = matches!(
                    e.kind(),
                    NotFound | PermissionDenied | ReadOnlyFilesystem | StorageFull
                );
                (
                    format!(
                        "{message}: check the network, and that {} can be written",
                        self.cache_dir.display()
                    ),
                    !disk,
                )
            }
            _ => (self.no_hub(&message), false),
        };
        self.error(problem, retryable)
    }
}

/// Whether a text is `owner/name`, of the characters a hub allows: it becomes part of paths and addresses.
fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    matches!(text.split_once('/'), Some((owner, name)) if part(owner) && part(name))
}

/// Folder of a repository that is in the cache, whole.
fn cached(repository: &CacheRepo) -> Option<PathBuf> {
    let [config, tokenizer, weights] = FILES.map(|file| repository.get(file));
    config
        .and(tokenizer)
        .and(weights)?
        .parent()
        .map(PathBuf::from)
}

/// Downloads the files, the largest last; none when they came from different commits.
fn download(repository: &ApiRepo, alive: &SyncSender<()>) -> Result<Option<PathBuf>, ApiError> {
    let mut folders = Vec::new();
    for file in FILES {
        let watched = Watched {
            bar: ProgressBar::new(0),
            alive: alive.clone(),
        };
        let path = repository.download_with_progress(file, watched)?;
        folders.push(path.parent().map(PathBuf::from));
    }
    folders.dedup();
    Ok(folders.pop().filter(|_| folders.is_empty()).flatten())
}

/// Shows progress, and tells whoever waits that there is some.
struct Watched {
    bar: ProgressBar,
    alive: SyncSender<()>,
}

impl Progress for Watched {
    fn init(&mut self, size: usize, file: &str) {
        Progress::init(&mut self.bar, size, file);
    }

    fn update(&mut self, size: usize) {
        // A full channel says the same.
        let _ = self.alive.try_send(());
        Progress::update(&mut self.bar, size);
    }

    fn finish(&mut self) {
        Progress::finish(&mut self.bar);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Model, testing};
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A hub on this machine: hands each request line and stream to `answer`, and counts the requests.
    fn hub(answer: impl Fn(&str, TcpStream) + Send + 'static) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut request = String::new();
                while reader.read_line(&mut request).is_ok_and(|read| read > 2) {}
                answer(&request, stream);
            }
        });
        (address, requests)
    }

    /// Serves a folder as `acme/tiny`, the way a hub does: commit, etag, ranges.
    fn serve(folder: PathBuf) -> (String, Arc<AtomicUsize>) {
        hub(move |request, mut stream| {
            let file = request
                .strip_prefix("GET /acme/tiny/resolve/main/")
                .and_then(|rest| rest.split(' ').next())
                .and_then(|file| std::fs::read(folder.join(file)).ok());
            let Some(bytes) = file else {
                return status(&mut stream, "404 Not Found");
            };
            let range = request
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("range: bytes=")
                        .map(str::to_owned)
                })
                .unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let first: usize = first.parse().unwrap();
            let last = last.parse().unwrap_or(bytes.len() - 1);
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\netag: \"{:x}\"\r\nx-repo-commit: c0ffee\r\n\
                 content-range: bytes {first}-{last}/{}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                bytes.len(),
                bytes.len(),
                last + 1 - first,
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&bytes[first..=last]).unwrap();
        })
    }

    fn status(stream: &mut TcpStream, status: &str) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
    }

    /// Fails to fetch from what answers so.
    fn failure(address: &str) -> ModelError {
        let cache = tempfile::tempdir().unwrap();
        let hub = Hub {
            repository: "acme/tiny",
            address,
            cache_dir: cache.path(),
        };
        hub.fetch(Duration::from_millis(500)).unwrap_err()
    }

    #[test]
    fn a_model_is_downloaded_once_and_opened() {
        let folder = tempfile::tempdir().unwrap();
        testing::write(folder.path(), candle_core::DType::F16);
        let (address, requests) = serve(folder.path().to_owned());
        let cache = tempfile::tempdir().unwrap();
        let config = ModelConfig {
            cache_dir: cache.path().join("models"),
            hub: format!("http://{address}/"),
            ..testing::model_config("hub:acme/tiny")
        };
        let model = Model::open(&config).unwrap();
        assert!(model.name().starts_with("tiny@"), "{}", model.name());
        let downloading = requests.load(Ordering::SeqCst);
        assert!(downloading >= 3);
        assert_eq!(Model::open(&config).unwrap().name(), model.name());
        assert_eq!(requests.load(Ordering::SeqCst), downloading);
    }

    #[test]
    fn a_download_that_was_broken_off_is_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        testing::write(folder.path(), candle_core::DType::F16);
        let (address, _) = serve(folder.path().to_owned());
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("models--acme--tiny/blobs");
        std::fs::create_dir_all(&blobs).unwrap();
        let weights = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        let part = blobs.join(format!("{:x}.part", weights.len()));
        std::fs::write(part, &weights[..100]).unwrap();
        let address = format!("http://{address}");
        let hub = Hub {
            repository: "acme/tiny",
            address: &address,
            cache_dir: cache.path(),
        };
        let fetched = hub.fetch(PATIENCE).unwrap();
        assert_eq!(
            std::fs::read(fetched.join("model.safetensors")).unwrap(),
            weights
        );
    }

    #[test]
    fn failures_say_what_to_do_and_whether_to_try_again() {
        for (answer, retryable, expected) in [
            ("404 Not Found", false, "model.source"),
            ("401 Unauthorized", false, "HF_TOKEN"),
            ("400 Bad Request", false, "400"),
            ("429 Too Many Requests", true, "429"),
            ("503 Service Unavailable", true, "503"),
            ("200 OK", false, "model.hub"),
            ("302 Found", false, "model.hub"),
        ] {
            let (address, _) = hub(move |_, mut stream| status(&mut stream, answer));
            let error = failure(&format!("http://{address}"));
            assert_eq!(error.is_retryable(), retryable, "{answer}: {error}");
            assert!(error.to_string().contains(expected), "{answer}: {error}");
        }
    }

    #[test]
    fn a_hub_that_is_away_or_silent_is_an_error_and_no_hang() {
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let error = failure(&format!("http://{closed}"));
        assert!(
            error.is_retryable() && error.to_string().contains("model.hub"),
            "{error}"
        );

        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = failure(&format!("http://{}", silent.local_addr().unwrap()));
        assert!(
            error.is_retryable() && error.to_string().contains("silent"),
            "{error}"
        );
    }

    #[test]
    fn an_https_address_is_spoken_to_in_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let first_byte = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            byte[0]
        });
        failure(&format!("https://{address}"));
        assert_eq!(first_byte.join().unwrap(), 22, "a TLS handshake record");
    }

    #[test]
    fn only_owner_and_name_are_a_repository() {
        assert!(is_repository("sentence-transformers/all-MiniLM-L6-v2"));
        for bad in [
            "", "acme", "/", "acme/", "../x", "a/..", "a/b/c", "a/b?c", "a b/c",
        ] {
            assert!(!is_repository(bad), "{bad}");
        }
    }
}
