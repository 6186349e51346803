//! Moments as people write and read them: RFC 3339 in UTC, and how long ago.
//!
//! Deliberately absent: time zones and leap seconds, which Unix time does not count.

use foreshore_control::now_unix_ms;
use foreshore_domain::moment::rfc3339;

const DAY_MS: u64 = 86_400_000;

/// A moment that a person named, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

impl std::str::FromStr for Moment {
    type Err = String;

    /// `90s`, `15m`, `1h`, `7d` ago, or RFC 3339 such as `2026-01-31T12:00:00Z`.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("\"{text}\": write how long ago (90s, 15m, 1h, 7d) or 2026-01-31T12:00:00Z");
        span_ms(text)
            .map(|ago| now_unix_ms().saturating_sub(ago))
            .or_else(|| rfc_3339(text))
            .map(Self)
            .ok_or_else(refused)
    }
}

/// A span of time as people write it, in milliseconds: `90s`, `15m`, `1h`, `7d`.
pub(super) fn span_ms(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => DAY_MS,
        _ => return None,
    };
    text[..text.len() - 1].parse::<u64>().ok()?.checked_mul(unit)
}

fn rfc_3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let mut date = date.splitn(3, '-').map(digits);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, offset_min) = match time.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let (clock, offset) = time.split_at_checked(time.len().checked_sub(6)?)?;
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let minutes = digits(hours)? * 60 + digits(minutes)?;
            (clock, if offset.starts_with('-') { -minutes } else { minutes })
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut clock = clock.splitn(3, ':').map(digits);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let millis = digits(format!("{fraction:0<3}").get(..3)?)?;
    let ranged = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (hour, minute, second) <= (23, 59, 60)
        && minute < 60
        && second <= 60;
    let minutes = (days_from_civil(year, month, day) * 24 + hour) * 60 + minute - offset_min;
    ranged.then(|| u64::try_from((minutes * 60 + second) * 1_000 + millis).ok()).flatten()
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// `2026-01-31 12:00:00.000Z`: RFC 3339 as people read it more easily.
pub(super) fn written(unix_ms: u64) -> String {
    rfc3339(unix_ms).replacen('T', " ", 1)
}

/// Days since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_rfc_3339_says_and_written_back() {
        for (text, unix_ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500),
            ("2026-01-31T12:00:00+02:00", 1_769_853_600_000),
            ("2026-01-31T08:00:00-02:00", 1_769_853_600_000),
        ] {
            assert_eq!(text.parse(), Ok(Moment(unix_ms)), "{text}");
        }
        assert_eq!(written(1_769_853_600_001), "2026-01-31 10:00:00.001Z");
        assert_eq!(written(951_868_799_500), "2000-02-29 23:59:59.500Z");
        for day in (0..40_000).step_by(13) {
            let unix_ms = day * DAY_MS + 1;
            assert_eq!(written(unix_ms).parse(), Ok(Moment(unix_ms)), "{day}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "h",
            "1",
            "1w",
            "-1h",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "é",
            "2026-01-01T00:00:00.00éZ",
        ] {
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
        let hour = "1h".parse::<Moment>().expect("an hour ago").0;
        assert!(now_unix_ms() - hour >= 3_600_000);
    }
}
