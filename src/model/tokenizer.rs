//! Text to tokens.

use super::ModelError;
use super::folder::File;
use super::workers;
use std::path::Path;
use std::sync::Arc;

/// Bytes of text looked at for each token kept. Words of ordinary text take 4 to 6 bytes a token, so what is
/// cut off would have been truncated anyway.
pub(super) const BYTES_PER_TOKEN: usize = 32;

/// One text as token ids, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens(pub Vec<u32>);

impl Tokens {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none; no tokenizer gives that.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Turns text into tokens of one model. Cheap to clone, and usable on any thread.
#[derive(Clone)]
pub struct Tokenizer {
    pub(super) inner: Arc<tokenizers::Tokenizer>,
    pub(super) max_tokens: usize,
    /// The special tokens alone: the encoding of an empty text.
    pub(super) empty: Tokens,
}

impl Tokenizer {
    /// Reads `tokenizer.json` for a model with `vocab_size` embeddings; its own truncation and padding give
    /// way to `max_tokens`, special tokens included, and none.
    pub(super) fn read(
        file: &File,
        vocab_size: usize,
        max_tokens: usize,
    ) -> Result<Self, ModelError> {
        let broken = |e: tokenizers::Error| file.unfit(format!("{e}: fetch the model again"));
        let mut inner = tokenizers::Tokenizer::from_bytes(&file.bytes).map_err(broken)?;
        let highest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        if highest as usize >= vocab_size {
            return Err(file.unfit(format!(
                "tokenizer does not fit the model: it has a token {highest}, config.json says {vocab_size} tokens: take both from one model"
            )));
        }
        inner.with_padding(None);
        inner.with_truncation(None).map_err(broken)?;
        let empty = inner.encode_fast("", true).map_err(broken)?;
        if empty.is_empty() || empty.len() >= max_tokens {
            return Err(file.unfit(format!(
                "it adds {} special tokens to a text, model.max_tokens is {max_tokens}: a classifier needs at least one, and room for a text",
                empty.len()
            )));
        }
        Ok(Self {
            empty: Tokens(empty.get_ids().to_vec()),
            inner: Arc::new(inner),
            max_tokens,
        })
    }

    /// Reads `tokenizer.json` at a path; the rest as for a model's own.
    ///
    /// # Errors
    /// When it cannot be read, or does not fit the model.
    pub fn open(path: &Path, vocab_size: usize, max_tokens: usize) -> Result<Self, ModelError> {
        Self::read(&File::read(path.to_owned())?, vocab_size, max_tokens)
    }

    /// The tokens of a text, special tokens included, at most `max_tokens` of them; a longer text loses its end.
    ///
    /// Takes time in proportion to `max_tokens`, not to the text: only its first 32 bytes a token are read.
    /// A text the tokenizer refuses counts as empty.
    pub fn encode(&self, text: &str) -> Tokens {
        let text = beginning(text, self.max_tokens.saturating_mul(BYTES_PER_TOKEN));
        match self.inner.encode_fast(text, true) {
            Ok(encoding) => self.truncate(encoding.get_ids()),
            Err(_) => self.empty.clone(),
        }
    }

    /// The beginning of the tokens, and the special ones that end a text.
    fn truncate(&self, ids: &[u32]) -> Tokens {
        if ids.len() <= self.max_tokens {
            return Tokens(ids.to_vec());
        }
        let end = &self.empty.0[1..];
        let beginning = &ids[..self.max_tokens - end.len()];
        Tokens([beginning, end].concat())
    }

    /// [`Tokenizer::encode`] of each text, on all cores.
    pub fn encode_all<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Vec<Tokens> {
        let chunks: Vec<&[T]> = texts.chunks(CHUNK).collect();
        let encode = |chunk: &&[T]| -> Vec<Tokens> {
            chunk
                .iter()
                .map(|text| self.encode(text.as_ref()))
                .collect()
        };
        workers::map(&chunks, encode)
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Texts that a thread takes at a time: starting threads for fewer costs more than it saves.
const CHUNK: usize = 32;

/// At most the first `bytes` bytes of a text, cut between characters.
pub(super) fn beginning(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
