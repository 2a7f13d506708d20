//! What people do, read off `squall.control`: by whoever has the alerts' partition, from where its state says, and not by
//! a consumer group, which could give the two partitions to different processes.

use crate::broker::{BrokerError, Connection, PartitionReader, topics};
use crate::domain::ControlAct;
use std::time::Duration;
use tokio::sync::mpsc;

/// Acts that wait to be taken in.
const CAPACITY: usize = 256;
/// Pause after the broker has refused.
const AGAIN: Duration = Duration::from_secs(2);

/// Acts, each with the offset behind it. Reading ends when this is dropped.
pub(super) struct Acts(mpsc::Receiver<(i64, ControlAct)>);

impl Acts {
    /// Reads from an offset on; from the beginning without one, or where that is gone.
    pub fn read(connection: Connection, from: Option<i64>) -> Self {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        tokio::task::spawn_blocking(move || {
            let mut next = from;
            while !sender.is_closed() {
                if let Err(error) = pass_on(&connection, &mut next, &sender) {
                    tracing::error!(%error, "what people do cannot be read, trying again: acknowledgements and silences wait");
                    std::thread::sleep(AGAIN);
                }
            }
        });
        Self(receiver)
    }

    /// The next one; none when reading has ended.
    pub async fn next(&mut self) -> Option<(i64, ControlAct)> {
        self.0.recv().await
    }
}

/// Passes acts on until nobody wants them.
fn pass_on(
    connection: &Connection,
    next: &mut Option<i64>,
    sender: &mpsc::Sender<(i64, ControlAct)>,
) -> Result<(), BrokerError> {
    let mut reader = PartitionReader::open_at(connection, "notify", topics::CONTROL, 0, *next)?;
    while !sender.is_closed() {
        let mut read = None;
        reader
            .poll(|entry| read = Some((entry.offset + 1, serde_json::from_slice(entry.payload))))?;
        let Some((behind, act)) = read else {
            continue;
        };
        *next = Some(behind);
        // What cannot be read is STORE's to tell of.
        if let Ok(act) = act
            && sender.blocking_send((behind, act)).is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}
