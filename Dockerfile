# The static binary that scripts/image.sh built, and nothing else. Its certificates it makes itself.
FROM scratch
COPY mcp-hangar-operator /mcp-hangar-operator
USER 65532:65532
EXPOSE 9443 8080 8081
ENTRYPOINT ["/mcp-hangar-operator"]
CMD ["run"]
