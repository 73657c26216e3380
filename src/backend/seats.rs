//! PURE. `Seats`: values that come and go, each found by its number. A number that is free is given to the next one, so what has once been as
//! large as it gets allocates nothing more.

#[derive(Debug)]
pub struct Seats<T> {
    seats: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Seats<T> {
    fn default() -> Self {
        Self { seats: Vec::new(), free: Vec::new() }
    }
}

impl<T> Seats<T> {
    /// The number that the next one is given.
    pub fn next(&self) -> usize {
        self.free.last().copied().unwrap_or(self.seats.len())
    }

    pub fn put(&mut self, value: T) -> usize {
        match self.free.pop() {
            Some(at) => {
                self.seats[at] = Some(value);
                at
            }
            None => {
                self.seats.push(Some(value));
                self.seats.len() - 1
            }
        }
    }

    pub fn take(&mut self, at: usize) -> Option<T> {
        let taken = self.seats.get_mut(at)?.take()?;
        self.free.push(at);
        Some(taken)
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        self.seats.get(at)?.as_ref()
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.seats.get_mut(at)?.as_mut()
    }

    /// In the order of their numbers.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.seats.iter_mut().flatten()
    }

    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.seats.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_again_once_it_is_free() {
        let mut seats = Seats::default();
        assert_eq!((seats.put('a'), seats.next(), seats.put('b')), (0, 1, 1));
        assert_eq!((seats.take(0), seats.take(0), seats.take(7)), (Some('a'), None, None));
        assert_eq!((seats.get(0), seats.get(1)), (None, Some(&'b')));
        assert_eq!((seats.next(), seats.put('c'), seats.next()), (0, 0, 2));
        seats.iter_mut().for_each(|seat| seat.make_ascii_uppercase());
        assert_eq!(seats.iter().collect::<String>(), "CB");
        assert_eq!(seats.get_mut(0), Some(&mut 'C'));
    }
}
