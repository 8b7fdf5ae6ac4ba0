//! A picture in memory that charts are drawn on, with letters of 8 × 8 pixels: charts look the same on every machine,
//! whatever fonts it has.

use std::convert::Infallible;

use font8x8::legacy::BASIC_LEGACY;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingBackend, DrawingErrorKind};

/// Edge of a letter.
const LETTER: i32 = 8;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// RGB pixels, row by row.
pub struct Canvas<'a> {
    pixels: &'a mut [u8],
    width: u32,
    height: u32,
}

impl<'a> Canvas<'a> {
    /// `pixels`: 3 bytes for each of width × height pixels.
    pub fn new(pixels: &'a mut [u8], width: u32, height: u32) -> Self {
        Self { pixels, width, height }
    }

    fn draw_letter(&mut self, letter: char, (left, top): BackendCoord, color: BackendColor) -> Drawn {
        let rows = BASIC_LEGACY.get(letter as usize).unwrap_or(&BASIC_LEGACY['?' as usize]);
        for (y, bits) in rows.iter().enumerate() {
            for x in (0..LETTER).filter(|x| bits >> x & 1 == 1) {
                self.draw_pixel((left + x, top + y as i32), color)?;
            }
        }
        Ok(())
    }
}

/// Letters come in whole multiples of their size.
fn letter_width(text: &str) -> i32 {
    LETTER * text.chars().count() as i32
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Drawn {
        if (0..self.width as i32).contains(&x) && (0..self.height as i32).contains(&y) {
            let start = 3 * (y as usize * self.width as usize + x as usize);
            let (red, green, blue) = color.rgb;
            for (pixel, new) in self.pixels[start..start + 3].iter_mut().zip([red, green, blue]) {
                let mixed = f64::from(*pixel) * (1.0 - color.alpha) + f64::from(new) * color.alpha;
                *pixel = mixed.round() as u8;
            }
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (x, y): BackendCoord) -> Drawn {
        let left = match style.anchor().h_pos {
            HPos::Left => x,
            HPos::Center => x - letter_width(text) / 2,
            HPos::Right => x - letter_width(text),
        };
        let top = match style.anchor().v_pos {
            VPos::Top => y,
            VPos::Center => y - LETTER / 2,
            VPos::Bottom => y - LETTER,
        };
        for (index, letter) in text.chars().enumerate() {
            self.draw_letter(letter, (left + LETTER * index as i32, top), style.color())?;
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        _style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok((letter_width(text) as u32, LETTER as u32))
    }
}
