//! Lays tiles out as large as the space allows: rows and columns that fit best, all tiles of one
//! size, the last row centred.

use iced::advanced::layout::{self, Layout};
use iced::advanced::widget::{Operation, Tree};
use iced::advanced::{Clipboard, Shell, Widget, mouse, overlay, renderer};
use iced::{Element, Event, Length, Point, Rectangle, Size, Vector};

/// Tiles are never flatter than this (width : height).
const FLATTEST: f32 = 16.0 / 9.0;
/// Tiles are never narrower than this, lest pictures lose too much at their sides.
const NARROWEST: f32 = 4.0 / 3.0;

/// How a number of tiles fits into a space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Tiles in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// The size of each tile, in whole logical pixels.
    pub tile: Size,
}

impl Fit {
    /// The arrangement with the largest tiles.
    #[must_use]
    pub fn best(count: usize, space: Size, gap: f32) -> Self {
        let mut best = Self { columns: 1, rows: count.max(1), tile: Size::ZERO };
        for columns in 1..=count {
            let rows = count.div_ceil(columns);
            let cell = Size::new(share(space.width, columns, gap), share(space.height, rows, gap));
            let tile = shaped(cell);
            if area(tile) > area(best.tile) {
                best = Self { columns, rows, tile };
            }
        }
        best
    }

    /// Where the tile with this index lies within the space, of `count` tiles in all.
    #[must_use]
    pub fn place(&self, index: usize, count: usize, space: Size, gap: f32) -> Point {
        let (row, column) = (index / self.columns, index % self.columns);
        let in_row = (count - row * self.columns).min(self.columns);
        let left = (space.width - span(self.tile.width, in_row, gap)) / 2.0;
        let top = (space.height - span(self.tile.height, self.rows, gap)) / 2.0;
        Point::new(
            (left + column as f32 * (self.tile.width + gap)).round(),
            (top + row as f32 * (self.tile.height + gap)).round(),
        )
    }
}

fn share(length: f32, parts: usize, gap: f32) -> f32 {
    ((length - gap * (parts as f32 - 1.0)) / parts as f32).max(0.0)
}

fn span(side: f32, parts: usize, gap: f32) -> f32 {
    side * parts as f32 + gap * (parts as f32 - 1.0)
}

fn shaped(cell: Size) -> Size {
    let width = cell.width.min(cell.height * FLATTEST).floor();
    let height = cell.height.min(cell.width / NARROWEST).floor();
    Size::new(width, height)
}

fn area(size: Size) -> f32 {
    size.width * size.height
}

/// The widget; see the module.
pub struct Mosaic<'a, Message> {
    tiles: Vec<Element<'a, Message>>,
    gap: f32,
}

/// Lays `tiles` out with `gap` logical pixels between them, in all the space there is.
#[must_use]
pub fn mosaic<Message>(tiles: Vec<Element<'_, Message>>, gap: f32) -> Mosaic<'_, Message> {
    Mosaic { tiles, gap }
}

impl<Message> Widget<Message, iced::Theme, iced::Renderer> for Mosaic<'_, Message> {
    fn size(&self) -> Size<Length> {
        Size::new(Length::Fill, Length::Fill)
    }

    fn children(&self) -> Vec<Tree> {
        self.tiles.iter().map(Tree::new).collect()
    }

    fn diff(&self, tree: &mut Tree) {
        tree.diff_children(&self.tiles);
    }

    fn layout(
        &mut self,
        tree: &mut Tree,
        renderer: &iced::Renderer,
        limits: &layout::Limits,
    ) -> layout::Node {
        let space = limits.max();
        let count = self.tiles.len();
        let fit = Fit::best(count, space, self.gap);
        let limits = layout::Limits::new(fit.tile, fit.tile);
        let nodes = self
            .tiles
            .iter_mut()
            .zip(&mut tree.children)
            .enumerate()
            .map(|(index, (tile, tree))| {
                tile.as_widget_mut()
                    .layout(tree, renderer, &limits)
                    .move_to(fit.place(index, count, space, self.gap))
            })
            .collect();
        layout::Node::with_children(space, nodes)
    }

    fn operate(
        &mut self,
        tree: &mut Tree,
        layout: Layout<'_>,
        renderer: &iced::Renderer,
        operation: &mut dyn Operation,
    ) {
        operation.container(None, layout.bounds());
        operation.traverse(&mut |operation| {
            for ((tile, tree), layout) in
                self.tiles.iter_mut().zip(&mut tree.children).zip(layout.children())
            {
                tile.as_widget_mut().operate(tree, layout, renderer, operation);
            }
        });
    }

    fn update(
        &mut self,
        tree: &mut Tree,
        event: &Event,
        layout: Layout<'_>,
        cursor: mouse::Cursor,
        renderer: &iced::Renderer,
        clipboard: &mut dyn Clipboard,
        shell: &mut Shell<'_, Message>,
        viewport: &Rectangle,
    ) {
        for ((tile, tree), layout) in
            self.tiles.iter_mut().zip(&mut tree.children).zip(layout.children())
        {
            tile.as_widget_mut()
                .update(tree, event, layout, cursor, renderer, clipboard, shell, viewport);
        }
    }

    fn mouse_interaction(
        &self,
        tree: &Tree,
        layout: Layout<'_>,
        cursor: mouse::Cursor,
        viewport: &Rectangle,
        renderer: &iced::Renderer,
    ) -> mouse::Interaction {
        self.tiles
            .iter()
            .zip(&tree.children)
            .zip(layout.children())
            .map(|((tile, tree), layout)| {
                tile.as_widget().mouse_interaction(tree, layout, cursor, viewport, renderer)
            })
            .max()
            .unwrap_or_default()
    }

    fn draw(
        &self,
        tree: &Tree,
        renderer: &mut iced::Renderer,
        theme: &iced::Theme,
        style: &renderer::Style,
        layout: Layout<'_>,
        cursor: mouse::Cursor,
        viewport: &Rectangle,
    ) {
        for ((tile, tree), layout) in self.tiles.iter().zip(&tree.children).zip(layout.children()) {
            tile.as_widget().draw(tree, renderer, theme, style, layout, cursor, viewport);
        }
    }

    fn overlay<'b>(
        &'b mut self,
        tree: &'b mut Tree,
        layout: Layout<'b>,
        renderer: &iced::Renderer,
        viewport: &Rectangle,
        translation: Vector,
    ) -> Option<overlay::Element<'b, Message, iced::Theme, iced::Renderer>> {
        overlay::from_children(&mut self.tiles, tree, layout, renderer, viewport, translation)
    }
}

impl<'a, Message: 'a> From<Mosaic<'a, Message>> for Element<'a, Message> {
    fn from(mosaic: Mosaic<'a, Message>) -> Self {
        Element::new(mosaic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(count: usize, space: (f32, f32), columns: usize, rows: usize) {
        let fit = Fit::best(count, Size::new(space.0, space.1), 12.0);
        assert_eq!((fit.columns, fit.rows), (columns, rows), "{count} in {space:?}: {fit:?}");
    }

    #[test]
    fn tiles_are_as_large_as_the_space_allows() {
        check(1, (1280.0, 640.0), 1, 1);
        check(2, (1280.0, 640.0), 2, 1);
        check(2, (500.0, 900.0), 1, 2);
        check(3, (1280.0, 640.0), 2, 2);
        check(3, (1280.0, 400.0), 3, 1);
        check(4, (1280.0, 640.0), 2, 2);
        check(5, (1280.0, 640.0), 3, 2);
        check(6, (1280.0, 640.0), 3, 2);
        check(9, (1280.0, 640.0), 3, 3);
        check(9, (300.0, 1400.0), 1, 9);
    }

    #[test]
    fn tiles_lie_within_the_space_and_never_overlap() {
        for count in 1..=12 {
            for (width, height) in [(1600.0, 900.0), (900.0, 480.0), (320.0, 700.0), (40.0, 40.0)] {
                let space = Size::new(width, height);
                let fit = Fit::best(count, space, 12.0);
                let tiles: Vec<_> = (0..count)
                    .map(|i| Rectangle::new(fit.place(i, count, space, 12.0), fit.tile))
                    .collect();
                for (i, tile) in tiles.iter().enumerate() {
                    if area(fit.tile) > 0.0 {
                        assert!(tile.x >= -0.5 && tile.x + tile.width <= width + 0.5);
                        assert!(tile.y >= -0.5 && tile.y + tile.height <= height + 0.5);
                    }
                    assert!(tiles[..i].iter().all(|other| other.intersection(tile).is_none()));
                }
            }
        }
    }

    #[test]
    fn the_last_row_is_centred() {
        let space = Size::new(1200.0, 600.0);
        let fit = Fit::best(5, space, 12.0);
        let first = fit.place(3, 5, space, 12.0);
        let last = fit.place(4, 5, space, 12.0);
        assert!((first.x - (space.width - last.x - fit.tile.width)).abs() <= 1.0);
    }

    #[test]
    fn no_tile_at_all_is_fine() {
        assert_eq!(Fit::best(0, Size::new(100.0, 100.0), 12.0).tile, Size::ZERO);
    }
}
