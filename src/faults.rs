//! Faults on purpose, for `make chaos`. In builds without debug assertions nothing of this is left.
//!
//! `SQUALL_FAULTS` says what goes wrong in a process, its parts separated by `;`:
//! - `kill=store.inserted@3`: it dies by SIGKILL at the third time it reaches that point.
//! - `delay=commit.sending@2:4000ms`: the thread sleeps at the second time, and what it was about to do comes late.
//! - `broken=token`: a promise is switched off, to show that the chaos test notices.
//!
//! Each kill and delay is noted as a line `kill store.inserted` in the file that `SQUALL_FAULTS_LOG` names.

/// Where a process can be made to die or to wait.
pub const POINTS: [&str; 13] = [
    "score.produced",
    "store.planning",
    "store.planned",
    "store.inserted",
    "store.committed",
    "commit.sending",
    "detect.decided",
    "detect.saving",
    "detect.saved",
    "notify.saved",
    "notify.sending",
    "notify.delivered",
    "notify.written",
];

/// Promises that can be switched off: that a block has a token of its own, that it is planned before it is inserted,
/// that repeats are left out of it.
pub const PROMISES: [&str; 3] = ["token", "plan", "repeats"];

/// Reads `SQUALL_FAULTS`, so that a mistake in it ends the process before it does anything.
pub fn arm() {
    #[cfg(debug_assertions)]
    armed::plan();
}

/// The process has come to a point.
#[inline]
pub fn reach(point: &'static str) {
    #[cfg(debug_assertions)]
    armed::reach(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

/// Whether a promise is switched off.
#[inline]
pub fn is_broken(promise: &'static str) -> bool {
    #[cfg(debug_assertions)]
    return armed::is_broken(promise);
    #[cfg(not(debug_assertions))]
    {
        let _ = promise;
        false
    }
}

#[cfg(debug_assertions)]
mod armed {
    use super::{POINTS, PROMISES};
    use std::io::Write as _;
    use std::process::Command;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    /// What is to go wrong.
    #[derive(Debug, Default, PartialEq)]
    pub struct Plan {
        faults: Vec<Fault>,
        broken: Vec<&'static str>,
    }

    /// What happens the `count`th time that a point is reached.
    #[derive(Debug, Clone, PartialEq)]
    struct Fault {
        point: usize,
        count: u32,
        /// How long it waits there; none: it dies.
        delay: Option<Duration>,
    }

    pub fn plan() -> &'static Plan {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| {
            let text = std::env::var("SQUALL_FAULTS").unwrap_or_default();
            parse(&text).unwrap_or_else(|problem| {
                eprintln!("squall: SQUALL_FAULTS: {problem}");
                std::process::exit(2)
            })
        })
    }

    pub fn is_broken(promise: &str) -> bool {
        debug_assert!(PROMISES.contains(&promise), "{promise}");
        plan().broken.contains(&promise)
    }

    pub fn reach(point: &str) {
        static COUNTS: [AtomicU32; POINTS.len()] = [const { AtomicU32::new(0) }; POINTS.len()];
        let faults = &plan().faults;
        let Some(index) = POINTS.iter().position(|known| *known == point) else {
            debug_assert!(false, "{point} is not among POINTS");
            return;
        };
        let count = COUNTS[index].fetch_add(1, Ordering::Relaxed) + 1;
        let now = |fault: &&Fault| fault.point == index && fault.count == count;
        match faults.iter().find(now).map(|fault| fault.delay) {
            Some(Some(delay)) => {
                note("delay", point);
                std::thread::sleep(delay);
            }
            Some(None) => {
                note("kill", point);
                die();
            }
            None => {}
        }
    }

    /// One write, so that lines of several processes do not mix.
    fn note(fault: &str, point: &str) {
        if let Some(path) = std::env::var_os("SQUALL_FAULTS_LOG") {
            let log = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path);
            let _ = log.and_then(|mut log| log.write_all(format!("{fault} {point}\n").as_bytes()));
        }
    }

    fn die() -> ! {
        let _ = Command::new("kill")
            .args(["-9", &std::process::id().to_string()])
            .status();
        // The signal is on its way; nothing behind this point may happen.
        loop {
            std::thread::park();
        }
    }

    fn parse(text: &str) -> Result<Plan, String> {
        let mut plan = Plan::default();
        for part in text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            match part.split_once('=') {
                Some(("kill", place)) => plan.faults.push(fault(place, None)?),
                Some(("delay", value)) => {
                    let (place, delay) = value
                        .split_once(':')
                        .ok_or(format!("'{part}': write delay=POINT@COUNT:4000ms"))?;
                    let millis = delay
                        .strip_suffix("ms")
                        .and_then(|number| number.parse().ok());
                    let millis =
                        millis.ok_or(format!("'{part}': '{delay}' is no time such as 4000ms"))?;
                    plan.faults
                        .push(fault(place, Some(Duration::from_millis(millis)))?);
                }
                Some(("broken", promise)) => plan.broken.push(known(promise, &PROMISES)?.1),
                _ => {
                    return Err(format!(
                        "'{part}': write kill=POINT@COUNT, delay=POINT@COUNT:4000ms or broken=PROMISE"
                    ));
                }
            }
        }
        Ok(plan)
    }

    /// `POINT@COUNT`; the first time where no count is given.
    fn fault(place: &str, delay: Option<Duration>) -> Result<Fault, String> {
        let (point, count) = place.split_once('@').unwrap_or((place, "1"));
        let count = count.parse().ok().filter(|count| *count > 0);
        Ok(Fault {
            point: known(point, &POINTS)?.0,
            count: count.ok_or(format!("'{place}': a count is 1 or more"))?,
            delay,
        })
    }

    fn known(name: &str, names: &[&'static str]) -> Result<(usize, &'static str), String> {
        let place = names.iter().position(|known| *known == name);
        let place =
            place.ok_or_else(|| format!("'{name}' is unknown: there are {}", names.join(", ")))?;
        Ok((place, names[place]))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_goes_wrong_is_read() {
            let plan = parse("kill=store.inserted@3; delay=commit.sending@2:4000ms;broken=token;")
                .unwrap();
            let (inserted, sending) = (3, 5);
            assert_eq!(
                (POINTS[inserted], POINTS[sending]),
                ("store.inserted", "commit.sending")
            );
            let kill = Fault {
                point: inserted,
                count: 3,
                delay: None,
            };
            let delay = Fault {
                point: sending,
                count: 2,
                delay: Some(Duration::from_secs(4)),
            };
            assert_eq!(plan.faults, [kill, delay]);
            assert_eq!(plan.broken, ["token"]);
            assert_eq!(parse("kill=score.produced").unwrap().faults[0].count, 1);
            assert_eq!(parse("").unwrap(), Plan::default());
        }

        #[test]
        fn a_mistake_is_told_with_what_would_be_right() {
            let problem = |text| parse(text).unwrap_err();
            assert!(
                problem("kill=store.stored@1")
                    .contains("'store.stored' is unknown: there are score.produced,")
            );
            assert!(problem("broken=everything").contains("there are token, plan, repeats"));
            assert!(problem("kill=store.inserted@0").contains("1 or more"));
            assert!(problem("kill=store.inserted@x").contains("1 or more"));
            assert!(problem("delay=store.inserted@1").contains("write delay="));
            assert!(problem("delay=store.inserted@1:4s").contains("'4s' is no time"));
            assert!(problem("store.inserted").contains("write kill="));
        }

        #[test]
        fn without_faults_every_point_is_passed() {
            POINTS.iter().for_each(|point| reach(point));
            assert!(!PROMISES.iter().any(|promise| is_broken(promise)));
        }
    }
}
