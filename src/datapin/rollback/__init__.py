"""A rollback or restore under way: its journal, its staged rows, trees and texts."""
