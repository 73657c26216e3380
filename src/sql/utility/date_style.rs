//! DateStyle, which is two settings in one: what a client leaves out stays as it is, as in Postgres's `check_datestyle`.

use super::set::names_of_list;

/// How dates are printed, and in which order their parts are read.
#[derive(Clone, Copy)]
struct DateStyle {
    style: &'static str,
    order: &'static str,
}

const BUILT_IN: DateStyle = DateStyle { style: "ISO", order: "MDY" };

/// The whole value where a client gives `text`, as the setting itself receives it. `current`: what holds now; `reset`: what the word
/// DEFAULT stands for. `None`: Postgres refuses it.
pub fn whole_date_style(text: &str, current: &str, reset: &str) -> Option<String> {
    let reset = read(reset, BUILT_IN, BUILT_IN)?;
    let DateStyle { style, order } = read(text, read(current, reset, reset)?, reset)?;
    Some(format!("{style}, {order}"))
}

fn read(text: &str, current: DateStyle, reset: DateStyle) -> Option<DateStyle> {
    let (mut style, mut order) = (None, None);
    let mut whole = current;
    for word in names_of_list(text)? {
        let word = word.to_ascii_lowercase();
        let (given, to) = match &*word {
            "iso" => (&mut style, "ISO"),
            "sql" => (&mut style, "SQL"),
            "german" => (&mut style, "German"),
            "ymd" => (&mut order, "YMD"),
            "dmy" => (&mut order, "DMY"),
            "mdy" | "us" => (&mut order, "MDY"),
            "default" => {
                whole = DateStyle { style: style.unwrap_or(reset.style), order: order.unwrap_or(reset.order) };
                continue;
            }
            word if word.starts_with("postgres") => (&mut style, "Postgres"),
            word if word.starts_with("euro") => (&mut order, "DMY"),
            word if word.starts_with("noneuro") => (&mut order, "MDY"),
            _ => return None,
        };
        if given.is_some_and(|given| given != to) {
            return None;
        }
        *given = Some(to);
        whole.style = style.unwrap_or(whole.style);
        whole.order = match order {
            Some(order) => order,
            None if to == "German" => "DMY",
            None => whole.order,
        };
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays() {
        let whole = |text: &str, current: &str| whole_date_style(text, current, "ISO, MDY");
        for (text, current, expected) in [
            ("DMY", "ISO, MDY", "ISO, DMY"),
            ("ISO", "ISO, DMY", "ISO, DMY"),
            ("postgresql", "SQL, DMY", "Postgres, DMY"),
            ("German", "ISO, MDY", "German, DMY"),
            ("YMD, German", "ISO, MDY", "German, YMD"),
            ("german,YMD", "ISO, MDY", "German, YMD"),
            ("US", "SQL, DMY", "SQL, MDY"),
            ("NonEuropean", "SQL, DMY", "SQL, MDY"),
            ("european", "SQL, MDY", "SQL, DMY"),
            (" \"iso\" , mdy ", "SQL, DMY", "ISO, MDY"),
            ("iso, ISO", "SQL, DMY", "ISO, DMY"),
            ("", "SQL, DMY", "SQL, DMY"),
            ("default", "SQL, DMY", "ISO, MDY"),
            ("default, sql", "German, DMY", "SQL, MDY"),
            ("dmy, default", "German, YMD", "ISO, DMY"),
        ] {
            assert_eq!(whole(text, current).as_deref(), Some(expected), "{text} over {current}");
        }
        for text in ["ISO, SQL", "DMY, MDY", "iso, iso8601", "5", "iso dmy", "iso,", "\"\"", "$user", "isodmy"] {
            assert_eq!(whole(text, "ISO, MDY"), None, "{text}");
        }
        assert_eq!(whole_date_style("default", "ISO, MDY", "German, YMD").as_deref(), Some("German, YMD"));
    }
}
