"""What ours costs beside what a user could pick instead: `make bench`. See docs/performance.md."""
