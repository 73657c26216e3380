//! Choices out of a fuzzer's bytes. Each takes few of them, so that a changed byte changes one choice.

/// Bytes not used yet. At their end every choice is the first one.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((first, rest)) => {
                self.rest = rest;
                *first
            }
            None => 0,
        }
    }

    /// Below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    pub fn yes(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn bytes(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        head
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
}

/// `data` cut into pieces whose sizes are the bytes of `sizes` in turn.
pub fn pieces<'d>(data: &'d [u8], sizes: &[u8]) -> Vec<&'d [u8]> {
    let mut sizes = sizes.iter().map(|size| usize::from(*size).max(1)).cycle();
    let mut rest = data;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
        pieces.push(head);
        rest = tail;
    }
    pieces
}
